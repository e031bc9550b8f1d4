// Undoes mounts: the file systems in reverse order of mounting, then it waits until what carries a removal
// mark is gone.
#pragma once

#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"
#include "mount/our_mounts.h"

namespace vmdkdm {

struct UnmountOptions {
    unsigned patience_ms = 1000;  ///< how long a process may stay in the file system before we give up
    unsigned removal_patience_ms = 5000;  ///< how long devices may take to go
};

/// The mounts that are meant: by a directory (the topmost there, and ours inside it), or by `disk`, all of
/// its. Throws Error (not_found, refused for a mount that is not on a disk of ours).
std::vector<OurMount> mounts_at(const std::string& directory, const std::vector<OurMount>& ours);

/// Unmounts `chosen`, given in the order in which they were mounted. Throws Error (busy) that names who uses
/// it; those mounted later have been unmounted then.
void unmount_file_systems(const std::vector<OurMount>& chosen, const UnmountOptions& options, Kernel& kernel);

/// Waits for the devices of `disks` (as they were before the unmount) that go by themselves and are not used
/// otherwise. What does not go in time is named in `notes`.
void wait_for_removal(const std::vector<AttachedDisk>& disks, const UnmountOptions& options, Kernel& kernel,
                      std::vector<std::string>& notes);

}  // namespace vmdkdm
