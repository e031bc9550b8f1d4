// How commands print: JSON and aligned text on stdout, notes on stderr.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/human_size.h"

// Once, in output.cc: it takes a second and more in every file.
extern template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace vmdkdm {

/// Objects keep the order in which their keys were written.
using Json = nlohmann::ordered_json;

/// On stdout, indented, with a line end. File names that are not UTF-8 get U+FFFD for what does not fit; what
/// would do something to a terminal is \uNNNN.
void print_json(const Json& value);

/// The same on one line, without a line end.
std::string compact_json(const Json& value);

/// "vmdk-dm: note: ..." on stderr.
void print_notes(const std::vector<std::string>& notes);

/// Rows of cells, escaped, printed in columns as wide as their widest cell; numbers to the right.
class TextTable {
  public:
    enum class Align { left, right };

    explicit TextTable(const std::vector<std::pair<std::string, Align>>& header);
    void add(std::vector<std::string> row);
    /// On stdout, each line after `indent` blanks.
    void print(std::size_t indent = 0) const;

  private:
    std::vector<Align> align_;
    std::vector<std::vector<std::string>> rows_;
};

/// "1 line", "2 lines".
std::string counted(std::uint64_t count, std::string_view word);

}  // namespace vmdkdm
