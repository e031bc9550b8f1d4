// What lies on an attached disk, as it stands: partitions, logical volumes, opened containers and arrays, and
// what is on each. Asked of the kernel (who lies on whom) and of libblkid; there is no state of our own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attach/attached.h"
#include "base/units.h"
#include "kernel/kernel.h"

namespace vmdkdm {

enum class VolumeKind { disk, partition, logical_volume, crypt, array, other };
/// "disk", "partition", "logical volume", "opened container", "array", "device"
std::string_view to_string(VolumeKind kind);

struct Volume {
    VolumeKind kind = VolumeKind::disk;
    std::string name;  ///< "web", "web1", "web2-crypt"; of a logical volume "vg0/root"
    std::string path;  ///< "/dev/mapper/web1"
    DeviceNumber device;
    std::optional<unsigned> partition_number;  ///< of a partition of the disk
    Bytes size;
    bool read_only = true;
    std::optional<VolumeContent> content;
    std::vector<std::string> mount_points;
    std::vector<Volume> children;  ///< what lies on it; what lies on several is below each of them
};

/// The disk and all that lies on it. A volume whose content cannot be read (bad sectors, say) has none.
/// Throws Error (system, not_found when the disk goes while it is looked at).
Volume survey(const AttachedDisk& disk, Kernel& kernel);

/// The volume that is called `wanted`: a partition by its number, a logical volume by "VG/LV", anything by
/// its name, device name or path; empty: the disk. Null when there is none. Throws Error (usage) when two are
/// meant.
const Volume* find_volume(const Volume& disk, std::string_view wanted);

/// Every volume of the tree once, those below before those above.
std::vector<const Volume*> bottom_up(const Volume& disk);

}  // namespace vmdkdm
