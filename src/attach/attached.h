// What is attached, read from the kernel alone: our devices are known by their dm UUIDs, their files by
// following dm dependencies to the loops. There is no state file that could go stale.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/kernel.h"

namespace vmdkdm {

struct AttachedPartition {
    unsigned number = 0;
    DmInfo device;
    Sectors start;  ///< on the disk
    Sectors size;
    std::vector<std::string> mount_points;
};

/// A file or block device that the disk lies on.
struct AttachedLower {
    DeviceNumber device;
    std::optional<LoopInfo> loop;  ///< none for a block device that is used as it is
    bool exception_store = false;  ///< a file of ours in /run, not the image's
};

/// A device of ours below the disk.
struct AttachedInner {
    DmInfo device;
    int own_users = 0;  ///< devices of the same disk that lie on it
};

struct AttachedDisk {
    std::string id;
    DmInfo device;  ///< should the disk itself be gone: the topmost of what is left of it
    Sectors capacity;
    std::optional<bool> exposed;  ///< to udev's rules; none when udev knows nothing of the disk
    std::optional<std::string>
        image;  ///< path of the descriptor; none when nothing in the kernel leads to it
    std::vector<AttachedPartition> partitions;
    std::vector<AttachedInner> inner;  ///< each before what it lies on
    std::vector<AttachedLower> lowers;
    std::vector<std::string> mount_points;  ///< of a file system without a partition table
};

/// Disks of ours in the order of their names, what a killed attach left without a table included.
std::vector<AttachedDisk> list_attached(Kernel& kernel);

}  // namespace vmdkdm
