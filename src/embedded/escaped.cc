#include "embedded/escaped.h"

#include <algorithm>
#include <cstdint>

namespace vmdkdm {
namespace {

// How many bytes the character at the front has; 0 when it is not to be shown as it is: no UTF-8, or a
// control character, those of C1 included. Overlong forms are no UTF-8.
std::size_t printable_size(std::string_view text) {
    const auto byte = [&text](std::size_t at) -> std::uint32_t {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
    };
    const auto follows = [&byte](std::size_t at) { return (byte(at) & 0xc0) == 0x80; };
    const std::uint32_t first = byte(0);
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    if (first >= 0xc2 && first < 0xe0 && follows(1)) return first == 0xc2 && byte(1) < 0xa0 ? 0 : 2;
    if (first >= 0xe0 && first < 0xf0 && follows(1) && follows(2)) {
        const std::uint32_t code = (first & 0xf) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
        const bool surrogate = code >= 0xd800 && code < 0xe000;
        // Marks that turn the direction of writing make a name look like another.
        const bool turns = (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                           (code >= 0x2066 && code <= 0x2069);
        return code >= 0x800 && !surrogate && !turns ? 3 : 0;
    }
    if (first >= 0xf0 && first < 0xf5 && follows(1) && follows(2) && follows(3)) {
        const std::uint32_t code = (first & 7) << 18 | (byte(1) & 0x3f) << 12;
        return code >= 0x10000 && code < 0x110000 ? 4 : 0;
    }
    return 0;
}

void append_escaped(std::string& text, char character) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(character);
    text += "\\x";
    text += digits[byte >> 4];
    text += digits[byte & 0xf];
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string safe;
    while (!text.empty()) {
        const std::size_t size = printable_size(text);
        if (size == 0)
            append_escaped(safe, text.front());
        else
            safe.append(text.front() == '\\' ? "\\" : "").append(text.substr(0, size));
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return safe;
}

std::string escaped_lines(std::string_view text) {
    std::string safe;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        safe += escaped(line);
        if (end == std::string_view::npos) break;
        safe += '\n';
        text.remove_prefix(end + 1);
    }
    return safe;
}

}  // namespace vmdkdm
