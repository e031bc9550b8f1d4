// Carries out a Plan: loops, disk, partitions; all or nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"
#include "plan/plan.h"

namespace vmdkdm {

/// Direct I/O between the loop devices and the files. `automatic` is off; ARCHITECTURE.md says why.
enum class DirectIo { automatic, on, off };

inline constexpr const char* default_run_dir = "/run/vmdk-dm";

struct PartitionDevice {
    Partition partition;
    std::string path;  ///< "/dev/mapper/web1"
};

struct AttachResult {
    std::string disk_path;  ///< "/dev/mapper/web"
    std::vector<PartitionDevice> partitions;
};

struct AttachOptions {
    DirectIo direct_io = DirectIo::automatic;
    bool partitions = true;
    std::optional<std::string>
        partition_delimiter;                ///< between disk name and number, instead of kpartx's rule
    std::string image_path;                 ///< absolute; kept with the loops for `list`
    std::string run_dir = default_run_dir;  ///< where exception stores are written
    bool until_unused = false;              ///< each device goes with its last user, as soon as it has none
    /// Called when everything stands, just before it is made to stay: what it throws undoes everything.
    std::function<void(const AttachResult&)> before_keep;
};

/// Throws Error; the kernel is then as it was before. Notes for the user are added to `notes`.
AttachResult attach(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes);

/// The same for a disk that is attached already: makes the partitions that have no device yet. The result has
/// all of them. Of the options, those that speak of partitions and of keeping apply.
AttachResult attach_partitions(const AttachedDisk& disk, std::uint32_t logical_sector_size,
                               const AttachOptions& options, Kernel& kernel, std::vector<std::string>& notes);

}  // namespace vmdkdm
