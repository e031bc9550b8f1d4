// Text from parts: concat("extent ", 3, ": ", path). Messages are built in many places; this keeps them
// readable, and fast enough for the lines of a table of a million targets.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <sstream>
#include <string>
#include <string_view>

namespace vmdkdm {

/// Adds a part to `text`: a string, a character, a whole number in decimal, or else what `<<` prints.
template <class Part>
void append_part(std::string& text, const Part& part) {
    if constexpr (std::same_as<Part, char>) {
        text += part;
    } else if constexpr (std::convertible_to<const Part&, std::string_view>) {
        text += std::string_view(part);
    } else if constexpr (std::integral<Part> && !std::same_as<Part, bool> && sizeof(Part) > 1) {
        std::array<char, 24> digits;
        const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), part);
        text.append(digits.data(), end);
    } else {
        std::ostringstream out;
        out << part;
        text += out.view();
    }
}

template <class... Parts>
void append_parts(std::string& text, const Parts&... parts) {
    (append_part(text, parts), ...);
}

template <class... Parts>
std::string concat(const Parts&... parts) {
    std::string text;
    append_parts(text, parts...);
    return text;
}

}  // namespace vmdkdm
