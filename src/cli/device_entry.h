// An entry that names its image by the device, as the boot needs it before anything is mounted.
#pragma once

#include "tab/tab.h"

namespace vmdkdm {

/// An entry for an image of this machine: `path` as the user wrote it, the name after it unless there is one.
/// Not checked further. Throws Error (not_found, usage).
TabEntry entry_for_image(const std::string& path, const std::string& name,
                         const std::vector<TabOption>& options);

/// The same entry with all paths as DEV:/PATH; one that has a device stays as it is. Throws Error (refused)
/// where a file of the chain, or a path of an option, lies on another file system than the image.
TabEntry as_device_entry(TabEntry entry);

}  // namespace vmdkdm
