// A place in a line of text that can say where it is: file:line:column, with the line and a caret below it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace vmdkdm {

/// Where a line stands, for messages about it that are made after parsing.
struct TextPosition {
    std::size_t line = 0;    ///< from 1
    std::size_t column = 0;  ///< from 1, in characters
};

bool equal_ignoring_case(std::string_view a, std::string_view b);
bool starts_with_ignoring_case(std::string_view text, std::string_view prefix);

/// An order for keys that are alike in any case.
struct LessIgnoringCase {
    bool operator()(std::string_view a, std::string_view b) const;
};

/// Without blanks (space, tab, CR) at both ends.
std::string_view trim(std::string_view text);

/// `text` fit for a message: escaped, and cut after 100 bytes.
std::string printable(std::string_view text);

class TextCursor {
  public:
    /// `line` without its line end; both texts must outlive the cursor.
    TextCursor(const std::string& file_name, std::size_t line_number, std::string_view line)
        : file_name_(&file_name), line_number_(line_number), line_(line) {}

    TextPosition position() const;
    bool at_end() const { return offset_ == line_.size(); }
    char peek() const { return line_[offset_]; }
    std::string_view rest() const { return line_.substr(offset_); }

    TextCursor& skip_blanks();
    TextCursor advanced(std::size_t count) const;

    /// The text up to the next blank, and the blanks after it.
    std::string_view take_word();
    /// The text between double quotes (the cursor is at the first), and the blanks after them; nothing when
    /// the second one is missing.
    std::optional<std::string_view> take_quoted();

    /// Throws TextError: "file:line:column: message", the line, and a caret.
    [[noreturn]] void fail(const std::string& message) const;

  private:
    const std::string* file_name_;
    std::size_t line_number_;
    std::string_view line_;
    std::size_t offset_ = 0;
};

}  // namespace vmdkdm
