// mount(8) and umount(8) as libmount does them, helpers such as mount.ntfs-3g included.
#pragma once

#include <string>

namespace vmdkdm {

struct MountCall {
    std::string device;     ///< "/dev/mapper/web1"
    std::string driver;     ///< "ext4", "ntfs-3g"
    std::string options;    ///< "ro,nosuid,..."
    std::string directory;  ///< absolute, without symlinks
};

struct MountOutcome {
    int error = 0;        ///< errno; 0 when it is mounted
    std::string message;  ///< libmount's words when it is not
};

MountOutcome mount_device(const MountCall& call);

/// Throws Error (busy, system).
void unmount(const std::string& directory);

/// Whether mount(8) would call a helper for the driver.
bool has_mount_helper(const std::string& driver);

}  // namespace vmdkdm
