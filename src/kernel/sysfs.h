// Attributes of devices, as /sys has them: a file with one line each.
#pragma once

#include <filesystem>
#include <string>

namespace vmdkdm {

/// The attribute without its line feed; empty when there is none.
std::string sysfs_attribute(const std::filesystem::path& path);

}  // namespace vmdkdm
