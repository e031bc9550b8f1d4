#include "units/unit_name.h"

#include <algorithm>
#include <array>

#include "base/concat.h"

namespace vmdkdm {
namespace {

constexpr std::string_view digits_of_hex = "0123456789abcdef";
constexpr std::array<std::string_view, 11> kinds = {
    "service", "socket", "target", "device", "mount", "swap", "timer", "automount", "path", "slice", "scope"};

bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string hex_escape(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return {'\\', 'x', digits_of_hex[byte >> 4], digits_of_hex[byte & 15]};
}

// udev's names of links: what is not ASCII stays as it is where it is UTF-8, which libblkid has seen to.
std::string udev_encoded(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        const bool stays = is_alphanumeric(c) ||
                           std::string_view("#+-.:=@_").find(c) != std::string_view::npos ||
                           static_cast<unsigned char>(c) >= 0x80;
        encoded += stays ? std::string(1, c) : hex_escape(c);
    }
    return encoded;
}

}  // namespace

std::string unit_escape(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        const bool leading_dot = c == '.' && escaped.empty();
        const bool stays = is_alphanumeric(c) || c == ':' || c == '_' || (c == '.' && !leading_dot);
        escaped += c == '/' ? "-" : stays ? std::string(1, c) : hex_escape(c);
    }
    return escaped;
}

std::string unit_path_escape(std::string_view path) {
    std::string simple;
    for (const char c : path)
        if (c != '/' || (!simple.empty() && simple.back() != '/')) simple += c;
    if (simple.ends_with('/')) simple.pop_back();
    return simple.empty() ? "-" : unit_escape(simple);
}

std::string service_of(std::string_view name) { return concat("vmdk-dm@", unit_escape(name), ".service"); }

std::string device_path(std::string_view device) {
    constexpr std::array<std::array<std::string_view, 2>, 4> tags = {{{"LABEL=", "by-label"},
                                                                      {"UUID=", "by-uuid"},
                                                                      {"PARTLABEL=", "by-partlabel"},
                                                                      {"PARTUUID=", "by-partuuid"}}};
    for (const auto& [tag, directory] : tags) {
        if (!device.starts_with(tag)) continue;
        std::string_view value = device.substr(tag.size());
        // fstab(5) allows quotes.
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
            value = value.substr(1, value.size() - 2);
        return concat("/dev/disk/", directory, "/", udev_encoded(value));
    }
    return std::string(device);
}

std::string device_unit(std::string_view device) {
    return concat(unit_path_escape(device_path(device)), ".device");
}

bool is_unit_name(std::string_view text) {
    const std::size_t dot = text.rfind('.');
    if (dot == std::string_view::npos || dot == 0 || text.size() > max_unit_name_length ||
        text.front() == '@')
        return false;
    const bool characters = std::all_of(text.begin(), text.end(), [](char c) {
        return is_alphanumeric(c) || std::string_view(":-_.\\@").find(c) != std::string_view::npos;
    });
    return characters && std::find(kinds.begin(), kinds.end(), text.substr(dot + 1)) != kinds.end();
}

}  // namespace vmdkdm
