// Takes an attached disk apart again: partitions first, then the disk; its loops clear themselves.
#pragma once

#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"

namespace vmdkdm {

struct DetachOptions {
    bool deferred = false;  ///< what is in use goes when its last user closes it
    unsigned patience_ms =
        5000;  ///< how long a process (udev's probe, say) may keep it open before we give up
};

/// Throws Error busy that names who uses the disk; then nothing has been removed. What was written to an
/// overlay is on the disk afterwards, unless the removal is deferred; Error (system) when it could not be
/// written. Notes are added to `notes`.
void detach(const AttachedDisk& disk, const DetachOptions& options, Kernel& kernel,
            std::vector<std::string>& notes);

}  // namespace vmdkdm
