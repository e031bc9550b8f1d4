// File systems that are mounted from attached disks, whoever mounted them: asked of the kernel.
#pragma once

#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"

namespace vmdkdm {

struct OurMount {
    std::string id;  ///< of the mount, unique while it is mounted
    std::string directory;
    std::string source;                  ///< "/dev/mapper/web1"
    std::string type;                    ///< of the driver's
    DeviceNumber device;                 ///< that the file system is on
    std::vector<std::string> image_ids;  ///< of the disks below; a VG or an array may have several
};

/// Whether the mount lies on the disk.
bool is_on(const OurMount& mount, const AttachedDisk& disk);

/// In the order in which they were mounted, as seen from this process.
std::vector<OurMount> list_our_mounts(const std::vector<AttachedDisk>& disks, Kernel& kernel);

/// The disk, and all that lies on it, through LVM, containers and arrays.
std::vector<DeviceNumber> devices_on(const AttachedDisk& disk, Kernel& kernel);

}  // namespace vmdkdm
