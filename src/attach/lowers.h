// What a disk's tables lie on: the loop devices of its files and, where a loop device has no direct I/O, a
// device over it that reads it page by page.
#pragma once

#include <string>
#include <vector>

#include "attach/assembly.h"
#include "attach/attach.h"
#include "dm/table.h"
#include "plan/plan.h"

namespace vmdkdm {

/// Makes them for all of `plan.lowers`, and returns where each is to be found. Throws Error.
std::vector<DevicePlace> make_lowers(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                                     Assembly& built, std::vector<std::string>& notes);

}  // namespace vmdkdm
