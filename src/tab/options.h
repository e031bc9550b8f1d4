// Which options an entry of vmdktab may have. What is not one of those that the boot needs is attach's own:
// there is no second list of attach's options.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tab/tab.h"

namespace vmdkdm {

/// Whether the option is for the boot (noauto, timeout=, x-...) and attach never sees it.
bool is_boot_word(std::string_view option);

/// Whether it is a boot word that this version knows; every other one that begins with "x-" is ignored.
bool is_known_boot_word(std::string_view option);

/// Whether the option's value is a path, which in an entry with a device is on that device too.
bool is_path_option(std::string_view option);

/// Why a path may not stand in a table: it is not absolute, or holds "." or ".."; none when it may.
std::optional<std::string> why_no_path(std::string_view path);

/// Why the option may not stand in a table; none when it may. Says nothing of attach's own options, which are
/// checked where they are defined.
std::optional<std::string> why_refused(const TabOption& option);

/// Where a path of the entry is on this machine: `device_directory` is where the device's file system is
/// mounted (absolute; ignored for an entry without a device).
std::string local_path(const TabEntry& entry, const std::string& path, const std::string& device_directory);

/// An option as an argument of `vmdk-dm attach`: "--overlay=/mnt/web.overlay".
std::string attach_argument(const TabEntry& entry, const TabOption& option,
                            const std::string& device_directory);

/// The arguments of `vmdk-dm attach` that say the same as the entry: options, and then the image.
std::vector<std::string> attach_arguments(const TabEntry& entry, const std::string& device_directory);

}  // namespace vmdkdm
