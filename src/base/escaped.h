// Texts of an image, a file name, a tool or a kernel, which an enemy may have chosen, made fit for a
// terminal. What is escaped: control characters (C0, DEL, C1), line and paragraph separators, marks that turn
// the direction of writing or are not seen, and bytes that are no UTF-8. All else stays, a backslash too: so
// what is escaped already stays as it is, and so does every harmless name.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vmdkdm {

/// On one line: each byte that is escaped is "\xNN", that of a line end too.
std::string escaped(std::string_view text);

/// The same of a text that has lines: line ends and tabs stay; "\r\n" becomes "\n".
std::string escaped_lines(std::string_view text);

/// The same of a JSON document, in JSON's own notation: what its strings hold of these characters is \uNNNN.
/// Line ends and tabs stay; bytes that are no UTF-8 become U+FFFD.
std::string escaped_json(std::string_view document);

/// How many bytes the character at the front of `text`, which is not empty, has when it stays; else 0.
std::size_t shown_size(std::string_view text);

/// As escaped_lines, of a text that comes in pieces: one may end in the middle of a character.
class LineEscaper {
  public:
    /// What can be shown by now.
    std::string more(std::string_view piece);
    /// What is left when no more comes.
    std::string rest();

  private:
    std::string cut_;  // of the last piece, as it may go on
};

}  // namespace vmdkdm
