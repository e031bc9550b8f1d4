#include "mount/options.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::string_view safe_defaults = "nosuid,nodev,noexec,noatime";

// They make mount(2) do something else than mounting a device here.
constexpr std::array not_for_us = {"remount", "bind", "rbind", "move", "loop", "offset", "sizelimit"};

std::vector<std::string> split_options(const std::string& text) {
    std::vector<std::string> options;
    std::string option;
    // A comma within double quotes is no separator (mount(8)), as in context="a,b".
    bool quoted = false;
    for (const char c : text) {
        if (c == '"') quoted = !quoted;
        if (c == ',' && !quoted)
            options.push_back(std::exchange(option, {}));
        else
            option += c;
    }
    options.push_back(option);
    std::erase(options, "");
    return options;
}

std::string octal(unsigned value) {
    std::ostringstream text;
    text << std::oct << std::setw(4) << std::setfill('0') << value;
    return text.str();
}

// r-- becomes r-x, and so on for each of the three.
unsigned directory_mode(unsigned mode) { return mode | ((mode & 0444U) >> 2U); }

unsigned mask_of(unsigned mode) { return ~mode & 0777U; }

std::string mode_options(const FileSystemRules& rules, unsigned mode) {
    const unsigned directories = directory_mode(mode);
    switch (rules.owner) {
        case OwnerStyle::masks:
            return concat("fmask=", octal(mask_of(mode)), ",dmask=", octal(mask_of(directories)));
        case OwnerStyle::hfs_masks:
            return concat("file_umask=", octal(mask_of(mode)), ",dir_umask=", octal(mask_of(directories)));
        case OwnerStyle::modes:
            return concat("mode=", octal(mode), ",dmode=", octal(directories));
        case OwnerStyle::rock_ridge:
            return concat("overriderockperm,mode=", octal(mode), ",dmode=", octal(directories));
        case OwnerStyle::none:
        case OwnerStyle::owner_only:
            break;
    }
    throw Error(ErrorKind::refused,
                concat("--mode: the files of ", rules.type, " have permissions of their own"));
}

std::string owner_options(const FileSystemRules& rules, const Owner& owner) {
    if (rules.owner == OwnerStyle::none)
        throw Error(ErrorKind::refused,
                    concat("--owner: the files of ", rules.type, " have owners of their own"));
    std::string options = concat("uid=", owner.user);
    if (owner.group) options += concat(",gid=", *owner.group);
    return options;
}

}  // namespace

void check_user_options(const MountWishes& wishes) {
    for (const std::string& option : split_options(wishes.options)) {
        const std::string name = option.substr(0, option.find('='));
        if (name == "rw" && !wishes.writable) throw Error(ErrorKind::usage, "-o rw: to write, use --rw");
        if (std::find(not_for_us.begin(), not_for_us.end(), name) != not_for_us.end())
            throw Error(ErrorKind::usage, concat("-o ", option, " makes no sense here"));
    }
}

std::string mount_options(const FileSystemRules& rules, const MountWishes& wishes, bool no_replay) {
    std::string options = concat(wishes.writable ? "rw," : "ro,", safe_defaults);
    const auto add = [&options](std::string_view more) {
        if (!more.empty()) options += concat(",", more);
    };
    add(rules.always);
    if (!wishes.writable) add(rules.read_only);
    if (no_replay) add(rules.no_replay);
    if (wishes.owner) add(owner_options(rules, *wishes.owner));
    if (wishes.mode) add(mode_options(rules, *wishes.mode));
    add(wishes.options);
    return options;
}

}  // namespace vmdkdm
