// The device of an entry that says DEV:/PATH: where it will appear, and how its file system is mounted for
// the images on it. Entries that call it alike share one mount.
#pragma once

#include <string>
#include <string_view>

#include "tab/tab.h"

namespace vmdkdm {

/// Where udev has the device of fstab(5) or vmdktab(5), there or not: "/dev/disk/by-label/HOST" of
/// "LABEL=HOST"; what is no tag stays as it is.
std::string device_path(std::string_view device);

/// What the entries of the device say in `host-options`: the first one has the say. Null when none does.
const TabOption* host_options(const Tab& tab, std::string_view device);

/// Mount options for the device's file system: read-only unless some entry writes to it; `host-options` come
/// last.
std::string device_mount_options(const Tab& tab, std::string_view device);

}  // namespace vmdkdm
