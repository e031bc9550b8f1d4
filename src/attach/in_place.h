// Writing straight into the image's own files: allowed only when nobody else writes them.
#pragma once

#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "plan/plan.h"
#include "vmdk/image.h"

namespace vmdkdm {

/// Throws Error (refused) for an extent that must not be written, (busy) when a process, a loop device or a
/// virtual machine has the files; adds a note when the image has a parent or children, whose content depends
/// on it.
void check_in_place(const Image& image, const Plan& plan, Kernel& kernel, std::vector<std::string>& notes);

}  // namespace vmdkdm
