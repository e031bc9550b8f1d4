#include "base/escaped.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace vmdkdm {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";

struct Characters {
    char32_t first, last;
};

// Beside those of ASCII.
constexpr Characters not_shown[] = {
    {0x80, 0x9f},        // C1
    {0xad, 0xad},        // soft hyphen
    {0x61c, 0x61c},      // Arabic letter mark
    {0x180e, 0x180e},    // Mongolian vowel separator
    {0x200b, 0x200f},    // of no width; marks of direction
    {0x2028, 0x202e},    // separators of lines and paragraphs; embeddings and overrides of direction
    {0x2060, 0x206f},    // of no width; isolates of direction
    {0xfeff, 0xfeff},    // byte order mark
    {0xfff9, 0xfffb},    // interlinear annotations
    {0xe0000, 0xe0fff},  // tags
};

bool is_shown(char32_t code) {
    return std::none_of(std::begin(not_shown), std::end(not_shown), [code](const Characters& range) {
        return code >= range.first && code <= range.last;
    });
}

// Such a byte is a character that stays.
template <bool has_lines>
bool is_plain(unsigned char byte) {
    return (byte >= 0x20 && byte < 0x7f) || (has_lines && (byte == '\n' || byte == '\t'));
}

template <bool has_lines>
std::size_t plain_size(std::string_view text) {
    constexpr std::size_t block =
        64;  // without a branch in it, so that the compiler can look at many at once
    std::size_t at = 0;
    for (; text.size() - at >= block; at += block) {
        unsigned char other = 0;
        for (std::size_t i = 0; i < block; ++i)
            other |=
                static_cast<unsigned char>(!is_plain<has_lines>(static_cast<unsigned char>(text[at + i])));
        if (other != 0) break;
    }
    while (at < text.size() && is_plain<has_lines>(static_cast<unsigned char>(text[at]))) ++at;
    return at;
}

struct Character {
    char32_t code = 0;
    std::size_t size = 0;  ///< in bytes; 0: what is there is no UTF-8
    bool is_cut = false;   ///< but might be, if more came
};

// The one at the front of a text that is not empty. Overlong forms and surrogates are no UTF-8.
Character first_character(std::string_view text) {
    const auto first = static_cast<unsigned char>(text.front());
    if (first < 0x80) return {first, 1};
    const std::size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size == 0) return {};
    char32_t code = first & (0x7fU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if (i == text.size()) return {0, 0, true};
        const auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0) != 0x80) return {};
        code = code << 6 | (byte & 0x3fU);
    }
    const bool is_overlong = code < (size == 3 ? 0x800U : size == 4 ? 0x10000U : 0x80U);
    const bool is_surrogate = code >= 0xd800 && code < 0xe000;
    return is_overlong || is_surrogate || code > 0x10ffff ? Character{} : Character{code, size};
}

void append_bytes(std::string& safe, std::string_view bytes) {
    for (const char character : bytes) {
        const auto byte = static_cast<unsigned char>(character);
        ((safe += "\\x") += hex_digits[byte >> 4]) += hex_digits[byte & 0xf];
    }
}

void append_unit(std::string& safe, char32_t unit) {
    safe += "\\u";
    for (const int shift : {12, 8, 4, 0}) safe += hex_digits[unit >> shift & 0xf];
}

void append_json(std::string& safe, char32_t code) {
    if (code >= 0x10000) {
        append_unit(safe, 0xd800 + ((code - 0x10000) >> 10));
        code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    append_unit(safe, code);
}

// Appends what stays. Of what does not, `escape` gets all that is left and the character at its front, and
// gives how many bytes it has taken; with 0 that is the end. Gives what is left.
template <bool has_lines, class Escape>
std::string_view escape_all(std::string& safe, std::string_view text, const Escape& escape) {
    const auto keep = [&](std::size_t size) {
        safe.append(text.substr(0, size));
        text.remove_prefix(size);
    };
    while (true) {
        keep(plain_size<has_lines>(text));
        if (text.empty()) return text;
        const Character character = first_character(text);
        if (character.size > 1 && is_shown(character.code)) {
            keep(character.size);
            continue;
        }
        const std::size_t taken = escape(text, character);
        if (taken == 0) return text;
        text.remove_prefix(taken);
    }
}

// Gives what may go on in the next piece, if there is one.
std::string_view append_lines(std::string& safe, std::string_view text, bool is_last) {
    return escape_all<true>(safe, text,
                            [&](std::string_view left, const Character& character) -> std::size_t {
                                const bool may_go_on = character.is_cut || left == "\r";
                                if (may_go_on && !is_last) return 0;
                                if (left.starts_with("\r\n")) return 1;
                                const std::size_t size = std::max<std::size_t>(character.size, 1);
                                append_bytes(safe, left.substr(0, size));
                                return size;
                            });
}

}  // namespace

std::size_t shown_size(std::string_view text) {
    const Character character = first_character(text);
    const bool shown = character.size > 1 ? is_shown(character.code)
                                          : is_plain<false>(static_cast<unsigned char>(text.front()));
    return shown ? character.size : 0;
}

std::string escaped(std::string_view text) {
    std::string safe;
    escape_all<false>(safe, text, [&](std::string_view left, const Character& character) {
        const std::size_t size = std::max<std::size_t>(character.size, 1);
        append_bytes(safe, left.substr(0, size));
        return size;
    });
    return safe;
}

std::string escaped_lines(std::string_view text) {
    std::string safe;
    append_lines(safe, text, /*is_last=*/true);
    return safe;
}

std::string escaped_json(std::string_view document) {
    std::string safe;
    escape_all<true>(safe, document, [&](std::string_view, const Character& character) {
        constexpr char32_t replacement = 0xfffd;
        append_json(safe, character.size == 0 ? replacement : character.code);
        return std::max<std::size_t>(character.size, 1);
    });
    return safe;
}

std::string LineEscaper::more(std::string_view piece) {
    std::string safe;
    if (cut_.empty()) {
        cut_ = append_lines(safe, piece, /*is_last=*/false);
        return safe;
    }
    const std::string whole = cut_.append(piece);
    cut_ = append_lines(safe, whole, /*is_last=*/false);
    return safe;
}

std::string LineEscaper::rest() {
    const std::string safe = escaped_lines(cut_);
    cut_.clear();
    return safe;
}

}  // namespace vmdkdm
