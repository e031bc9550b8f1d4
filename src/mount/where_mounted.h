// Where file systems are mounted, and on what a file lies, by the kernel's list of mounts; and what fstab
// says of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vmdkdm {

/// The node of "UUID=...", "LABEL=...", "PARTUUID=...", "PARTLABEL=..." or of a path below /dev. Throws Error
/// (not_found).
std::string find_device(const std::string& device);

/// A directory where all of the device's file system is mounted, its root being there to see; none when it is
/// mounted nowhere, or only a part of it. With `writable` rather a mount that can be written.
std::optional<std::string> where_mounted(const std::string& node, bool writable);

/// Whether the path, with its symlinks resolved, lies on the very mount whose root is `directory`, and not on
/// another one below. Of a file that does not exist its directory is meant; true when that is missing too.
bool is_on_mount(const std::string& path, const std::string& directory);

/// A mount as the kernel lists it.
struct MountPlace {
    std::string directory;  ///< where it is mounted
    std::string source;     ///< "/dev/sda1", "tmpfs"
    std::string type;       ///< "ext4"
    std::string root;       ///< what of the file system is to be seen there: "/", or a directory or subvolume
};

/// The mount that a file or directory lies on. Throws Error (not_found, system).
MountPlace mount_of(const std::string& path);

/// The UUID of the file system on a device, as mount UUID=... takes it; empty when it has none or cannot be
/// read.
std::string file_system_uuid(const std::string& node);

/// A file as it is found from its device alone.
struct DevicePath {
    std::string device;        ///< "UUID=..."
    std::string path;          ///< from the root of the file system, not from what is mounted of it
    std::string mount_option;  ///< that shows this root: "subvolid=5" for btrfs; else empty
    friend bool operator==(const DevicePath&, const DevicePath&) = default;
};

/// Of a file or directory that exists. Bind mounts and subvolumes are seen through. Throws Error (refused):
/// its file system lies on no device of this machine, or has no UUID.
DevicePath device_path_of(const std::string& path);

/// What /etc/fstab says of a mount point.
struct FstabMount {
    std::string directory;
    std::string source;  ///< "UUID=...", "/dev/mapper/web1"
    std::string options;
};

/// The mount points of fstab, without swap and those of network file systems and their like that need no
/// device. None when there is no fstab.
std::vector<FstabMount> fstab_mounts();

/// The one that `path` lies below: the deepest. Null when there is none.
const FstabMount* fstab_mount_of(const std::vector<FstabMount>& mounts, const std::string& path);

}  // namespace vmdkdm
