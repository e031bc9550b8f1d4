// The subcommands of `vmdk-dm tab` that no person calls, and that --help does not list.
#pragma once

#include "cli/command.h"

namespace vmdkdm {

void add_tab_initrd_command(Command& tab);

}  // namespace vmdkdm
