#include "units/unit_text.h"

#include "base/concat.h"

namespace vmdkdm {

UnitText::UnitText(std::string_view origin)
    : text_(concat("# Made by vmdk-dm-generator from ", origin, "\n")) {}

UnitText& UnitText::section(std::string_view name) {
    text_ += concat("\n[", name, "]\n");
    return *this;
}

UnitText& UnitText::set(std::string_view key, std::string_view value) {
    text_ += concat(key, "=", value, "\n");
    return *this;
}

std::string without_specifiers(std::string_view text) {
    std::string doubled;
    for (const char c : text) doubled += c == '%' ? "%%" : std::string(1, c);
    return doubled;
}

std::string quoted_path(std::string_view path) {
    std::string quoted = "\"";
    for (const char c : without_specifiers(path)) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + '"';
}

}  // namespace vmdkdm
