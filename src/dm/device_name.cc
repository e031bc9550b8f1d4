#include "dm/device_name.h"

#include <algorithm>
#include <cctype>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::string_view allowed_signs = "#+-.:=@_";

}  // namespace

bool may_stand_in_name(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           allowed_signs.find(c) != std::string_view::npos;
}

void check_name_characters(std::string_view what, const std::string& text) {
    if (!std::all_of(text.begin(), text.end(), may_stand_in_name))
        throw Error(ErrorKind::usage,
                    concat(what, " '", text, "' holds a character outside A-Z a-z 0-9 ", allowed_signs));
}

void check_name(const std::string& name, std::string_view how) {
    if (name.empty()) throw Error(ErrorKind::usage, "a device name must not be empty");
    // A '-' in front would be an option to lvm, and to whatever the user gives the name to.
    if (name == "." || name == ".." || name == "control" || name.front() == '-')
        throw Error(ErrorKind::usage,
                    concat("'", name, "' cannot be a device name (choose another", how, ")"));
    if (name.size() > max_name_length)
        throw Error(ErrorKind::usage,
                    concat("the device name '", name, "' is ", name.size(), " bytes long (at most ",
                           max_name_length, "; choose a shorter one", how, ")"));
    check_name_characters("the device name", name);
}

}  // namespace vmdkdm
