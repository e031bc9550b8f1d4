// --cache-dir, alike on every command that uses the cache.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace vmdkdm {

inline void add_cache_options(CLI::App& command, std::optional<std::string>& directory) {
    command
        .add_option("--cache-dir", directory,
                    "Where the cache is (default: /var/cache/vmdk-dm for root, ~/.cache/vmdk-dm for others)")
        ->type_name("DIR");
}

}  // namespace vmdkdm
