// The subcommands of `vmdk-dm tab` that no person calls, and that --help does not list.
#pragma once

#include <CLI/CLI.hpp>

namespace vmdkdm {

void add_tab_initrd_command(CLI::App& tab);

}  // namespace vmdkdm
