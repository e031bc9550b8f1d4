// What an entry of vmdktab says to attach. Its options are those of the command, read by the same definition.
#pragma once

#include <optional>
#include <string>

#include "cli/attach_image.h"
#include "tab/tab.h"

namespace vmdkdm {

/// Throws TextError with the place of the option that attach does not know, or whose value it does not take.
/// `device_directory` is where the file system of the entry's device is mounted.
AttachCommandOptions attach_options_of(const TabEntry& entry, const std::string& device_directory);

/// The directory where the file system of the entry's device is mounted; empty for an entry without one.
/// Throws Error (not_found): there is no such device, or it is not mounted.
std::string device_directory_of(const TabEntry& entry);

/// Throws Error (refused) where a path of the entry leads out of the device's file system: over a symlink, or
/// into something that is mounted there.
void check_paths_on_device(const TabEntry& entry, const std::string& device_directory);

}  // namespace vmdkdm
