// The filter of system calls around User-Mode Linux: what a kernel that runs as an ordinary process needs of
// the one below it, and nothing else of that.
#pragma once

#include <string>

#include "base/unique_fd.h"

namespace vmdkdm {

struct MachineFilter {
    UniqueFd program;         ///< the filter as bubblewrap's --seccomp reads it, from its beginning; or none:
    std::string not_granted;  ///< why this system has none
};

/// Throws Error (system).
MachineFilter make_machine_filter();

}  // namespace vmdkdm
