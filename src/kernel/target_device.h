// A block device that is about to be overwritten: what must be asked before.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "files/file.h"
#include "kernel/kernel.h"

namespace vmdkdm {

/// What libblkid finds on the device, such as "ext4" or "a partition table (gpt)"; empty when there is
/// nothing.
std::string signature_on(int fd);

struct TargetDevice {
    UniqueFd fd;  ///< for reading and writing; nobody else can claim the device while it is open
    std::string path;
    Bytes size;
};

/// Opens it when it is at least as large as the disk, nobody uses it, none of `sources` lies on it or below
/// it, and there is no signature on it (unless `force`). Throws Error (refused, busy, not_found, system).
TargetDevice open_target_device(Kernel& kernel, const std::string& path, Bytes capacity,
                                const std::vector<FileIdentity>& sources, bool force);

}  // namespace vmdkdm
