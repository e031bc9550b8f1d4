#include "vmdk/descriptor_text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace vmdkdm {
namespace {

enum class ByteOrder { little, big };

// By its mark, or by the first two characters: a descriptor begins in ASCII.
std::optional<ByteOrder> utf16_order(std::string_view raw) {
    if (raw.starts_with("\xff\xfe")) return ByteOrder::little;
    if (raw.starts_with("\xfe\xff")) return ByteOrder::big;
    if (raw.size() < 4) return std::nullopt;
    const auto is_ascii = [&raw](std::size_t high, std::size_t low) {
        return raw[high] == '\0' && raw[low] > 0;
    };
    if (is_ascii(1, 0) && is_ascii(3, 2)) return ByteOrder::little;
    if (is_ascii(0, 1) && is_ascii(2, 3)) return ByteOrder::big;
    return std::nullopt;
}

void append_utf8(std::string& text, std::uint32_t character) {
    const auto add = [&text](std::uint32_t byte) { text += static_cast<char>(byte); };
    if (character < 0x80) return add(character);
    if (character < 0x800) {
        add(0xc0 | character >> 6);
    } else if (character < 0x10000) {
        add(0xe0 | character >> 12);
        add(0x80 | (character >> 6 & 0x3f));
    } else {
        add(0xf0 | character >> 18);
        add(0x80 | (character >> 12 & 0x3f));
        add(0x80 | (character >> 6 & 0x3f));
    }
    add(0x80 | (character & 0x3f));
}

// A surrogate without its other half becomes U+FFFD; half a unit at the end is dropped.
std::string from_utf16(std::string_view raw, ByteOrder order) {
    constexpr std::uint32_t replacement = 0xfffd;
    const auto unit = [&](std::size_t index) {
        const auto byte = [&raw](std::size_t at) {
            return std::uint32_t{static_cast<unsigned char>(raw[at])};
        };
        const std::uint32_t first = byte(2 * index);
        const std::uint32_t second = byte(2 * index + 1);
        return order == ByteOrder::little ? first | second << 8 : first << 8 | second;
    };
    const auto is_high = [](std::uint32_t value) { return value >= 0xd800 && value < 0xdc00; };
    const auto is_low = [](std::uint32_t value) { return value >= 0xdc00 && value < 0xe000; };
    const std::size_t units = raw.size() / 2;
    std::string text;
    text.reserve(units);
    for (std::size_t i = 0; i < units; ++i) {
        const std::uint32_t value = unit(i);
        if (i + 1 < units && is_high(value) && is_low(unit(i + 1)))
            append_utf8(text, 0x10000 + ((value - 0xd800) << 10) + (unit(++i) - 0xdc00));
        else
            append_utf8(text, is_high(value) || is_low(value) ? replacement : value);
    }
    return text;
}

}  // namespace

DescriptorText descriptor_text(std::string raw) {
    DescriptorText result;
    if (const std::optional<ByteOrder> order = utf16_order(raw)) {
        result.text = from_utf16(raw, *order);
        result.was_utf16 = true;
    } else {
        result.text = std::move(raw);
    }
    if (result.text.find('\n') == std::string::npos)
        std::replace(result.text.begin(), result.text.end(), '\r', '\n');
    return result;
}

}  // namespace vmdkdm
