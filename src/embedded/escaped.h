// Texts that an enemy may have chosen, for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace vmdkdm {

/// With every control character, and every byte that is no part of UTF-8, as "\xNN", and a backslash doubled.
std::string escaped(std::string_view text);

/// The same line by line: line ends stay.
std::string escaped_lines(std::string_view text);

}  // namespace vmdkdm
