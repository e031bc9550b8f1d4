#include "tab/options.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "tab/time_span.h"

namespace vmdkdm {
namespace {

enum class Takes { nothing, text, time };

struct BootWord {
    std::string_view name;
    Takes takes;
};

constexpr std::array boot_words = {
    BootWord{"auto", Takes::nothing},
    BootWord{"noauto", Takes::nothing},
    BootWord{"nofail", Takes::nothing},
    BootWord{"late", Takes::nothing},
    BootWord{"_netdev", Takes::nothing},
    BootWord{"timeout", Takes::time},
    BootWord{"host-options", Takes::text},
    BootWord{"x-initrd.attach", Takes::nothing},
    BootWord{"x-systemd.requires", Takes::text},
    BootWord{"x-systemd.after", Takes::text},
    BootWord{"x-systemd.before", Takes::text},
    BootWord{"x-systemd.wanted-by", Takes::text},
    BootWord{"x-systemd.required-by", Takes::text},
    BootWord{"x-systemd.requires-mounts-for", Takes::text},
    BootWord{"x-systemd.device-timeout", Takes::time},
};

// Options of attach whose value is a path, in the words of its own definition.
constexpr std::array<std::string_view, 6> path_options = {"allow-path", "search-dir", "cache-dir",
                                                          "overlay",    "seal",       "require-seal"};

// What attach knows, but an entry has no use for: it has its own field, or is about one run of the command.
struct Refused {
    std::string_view name;
    std::string_view why;
};
constexpr std::array refused_options = {
    Refused{"name", "the name is the first field of the line"},
    Refused{"json", "it belongs to a run of the command"},
    Refused{"progress", "it belongs to a run of the command"},
    Refused{"help", "it belongs to a run of the command"},
    Refused{"version", "it belongs to a run of the command"},
    Refused{"table", "a table cannot name another"},
    Refused{"table-file", "a table cannot name another"},
};

const BootWord* boot_word(std::string_view name) {
    const auto found = std::find_if(boot_words.begin(), boot_words.end(),
                                    [&](const BootWord& word) { return word.name == name; });
    return found == boot_words.end() ? nullptr : &*found;
}

std::optional<std::string> why_refused_as_boot_word(const BootWord& word, const TabOption& option) {
    if (word.takes == Takes::nothing)
        return option.value ? std::optional(concat("'", word.name, "' takes no value")) : std::nullopt;
    if (!option.value || option.value->empty())
        return concat("'", word.name, "' needs a value: ", word.name, "=...");
    if (word.takes == Takes::time && !parse_time_span(*option.value))
        return concat("'", *option.value,
                      "' is not a time (expected seconds, or a time span such as 1min 30s)");
    if (word.name == "x-systemd.requires-mounts-for") return why_no_path(*option.value);
    return std::nullopt;
}

}  // namespace

bool is_boot_word(std::string_view option) {
    return boot_word(option) != nullptr || option.starts_with("x-");
}

bool is_known_boot_word(std::string_view option) { return boot_word(option) != nullptr; }

bool is_path_option(std::string_view option) {
    return std::find(path_options.begin(), path_options.end(), option) != path_options.end();
}

std::optional<std::string> why_no_path(std::string_view path) {
    if (!path.starts_with('/')) return concat("'", path, "' is not an absolute path");
    for (std::size_t at = 0; at < path.size();) {
        const std::size_t end = std::min(path.find('/', at + 1), path.size());
        const std::string_view component = path.substr(at + 1, end - at - 1);
        if (component == "." || component == "..")
            return concat("'", path, "' holds '", component, "' (write the path without)");
        at = end;
    }
    return std::nullopt;
}

std::optional<std::string> why_refused(const TabOption& option) {
    if (const BootWord* word = boot_word(option.name)) return why_refused_as_boot_word(*word, option);
    for (const Refused& refused : refused_options)
        if (refused.name == option.name)
            return concat("'", option.name, "' cannot stand in a table: ", refused.why);
    // CLI11 would take the next argument for the value.
    if (!is_boot_word(option.name) && option.value && option.value->empty())
        return concat("the value of '", option.name, "' is empty");
    if (!is_path_option(option.name)) return std::nullopt;
    if (!option.value) return concat("'", option.name, "' needs a path: ", option.name, "=/...");
    return why_no_path(*option.value);
}

std::string local_path(const TabEntry& entry, const std::string& path, const std::string& device_directory) {
    if (entry.image.device.empty() || device_directory == "/") return path;
    return device_directory + path;
}

std::string attach_argument(const TabEntry& entry, const TabOption& option,
                            const std::string& device_directory) {
    if (!option.value) return concat("--", option.name);
    const bool is_path = is_path_option(option.name);
    return concat("--", option.name, "=",
                  is_path ? local_path(entry, *option.value, device_directory) : *option.value);
}

std::vector<std::string> attach_arguments(const TabEntry& entry, const std::string& device_directory) {
    std::vector<std::string> arguments = {concat("--name=", entry.name)};
    for (const TabOption& option : entry.options)
        if (!is_boot_word(option.name)) arguments.push_back(attach_argument(entry, option, device_directory));
    arguments.push_back(local_path(entry, entry.image.path, device_directory));
    return arguments;
}

}  // namespace vmdkdm
