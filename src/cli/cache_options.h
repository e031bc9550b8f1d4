// --cache-dir and --cache-limit, alike on every command that uses the cache.
#pragma once

#include <optional>
#include <string>
#include "cli/command.h"

namespace vmdkdm {

inline void add_cache_options(Command& command, std::optional<std::string>& directory) {
    command.add_option(
        "--cache-dir", directory, "DIR",
        "Where the cache is (default: /var/cache/vmdk-dm for root, ~/.cache/vmdk-dm for others)");
}

/// On those that write to it.
inline void add_cache_limit_option(Command& command, std::optional<std::string>& limit) {
    command.add_option("--cache-limit", limit, "SIZE",
                       "How much the cache may take, such as 10G (default: a quarter of what is free there)");
}

}  // namespace vmdkdm
