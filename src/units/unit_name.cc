#include "units/unit_name.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "tab/device.h"

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
