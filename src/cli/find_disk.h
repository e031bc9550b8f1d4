// Which attached disk is meant: the same on every command that takes one.
#pragma once

#include <string>
#include <vector>

#include "attach/attached.h"

namespace vmdkdm {

/// The id by which an image's disk is known (Plan::id); empty when there is no such file.
std::string id_of_image(const std::string& path);

/// By device name, its path, or the path of the image; the name comes first. Null when it is not attached.
/// Throws Error (usage) for a partition.
const AttachedDisk* find_disk_if_attached(const std::vector<AttachedDisk>& disks, const std::string& wanted,
                                          Kernel& kernel);

/// The same; throws Error (not_found) when it is not attached.
const AttachedDisk& find_disk(const std::vector<AttachedDisk>& disks, const std::string& wanted,
                              Kernel& kernel);

}  // namespace vmdkdm
