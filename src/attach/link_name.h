// What the links below /dev/disk/by-vmdk are called.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace vmdkdm {

/// "web-part1", for partition 1 of the disk web; the partition's own name has the user's delimiter in it and
/// cannot be taken apart. Read from `sysfs`, the partition's directory ("/sys/devices/virtual/block/dm-1"),
/// without a call to the device mapper, as udev waits for it. None when that is not a partition of ours.
std::optional<std::string> partition_link_name(const std::filesystem::path& sysfs);

}  // namespace vmdkdm
