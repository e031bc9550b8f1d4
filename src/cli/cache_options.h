// --cache-dir, alike on every command that uses the cache.
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

}  // namespace vmdkdm
