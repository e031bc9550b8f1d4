#include "mount/file_systems.h"

#include <algorithm>
#include <cerrno>

namespace vmdkdm {
namespace {

// Sources: Linux, Documentation/filesystems/*.rst and fs/*/super.c; mount(8); ntfs-3g(8).
const std::vector<FileSystemRules>& table() {
    static const std::vector<FileSystemRules> rules = {
        // ext2 has no journal, and its driver refuses noload.
        {"ext2", {"ext2"}, "", "", "", 0, OwnerStyle::none},
        // "recovery required on readonly filesystem; write access unavailable": EROFS.
        {"ext3", {"ext3"}, "", "", "noload", EROFS, OwnerStyle::none},
        {"ext4", {"ext4"}, "", "", "noload", EROFS, OwnerStyle::none},
        // nouuid: a clone beside its original. norecovery goes with ro only.
        {"xfs", {"xfs"}, "nouuid", "", "norecovery", EROFS, OwnerStyle::none},
        // btrfs says EIO ("log replay required on RO media"). rescue= is there since Linux 5.9.
        {"btrfs", {"btrfs"}, "", "", "rescue=nologreplay", EIO, OwnerStyle::none},
        {"f2fs", {"f2fs"}, "", "", "norecovery", EROFS, OwnerStyle::none},
        {"nilfs2", {"nilfs2"}, "", "", "norecovery", EROFS, OwnerStyle::none},
        // ntfs-3g comes first: a hostile file system is then read by a process and not by the kernel. Neither
        // touches the journal when it mounts read-only.
        {"ntfs", {"ntfs-3g", "ntfs3"}, "", "", "", 0, OwnerStyle::masks},
        {"ntfs-3g", {"ntfs-3g"}, "", "norecover", "", 0, OwnerStyle::masks},
        {"ntfs3", {"ntfs3"}, "", "", "", 0, OwnerStyle::masks},
        {"vfat", {"vfat"}, "", "", "", 0, OwnerStyle::masks},
        {"msdos", {"msdos"}, "", "", "", 0, OwnerStyle::masks},
        {"exfat", {"exfat"}, "", "", "", 0, OwnerStyle::masks},
        {"hfs", {"hfs"}, "", "", "", 0, OwnerStyle::hfs_masks},
        // Its umask= is only for files without permissions of their own.
        {"hfsplus", {"hfsplus"}, "", "", "", 0, OwnerStyle::owner_only},
        {"udf", {"udf"}, "", "", "", 0, OwnerStyle::modes},
        {"iso9660", {"iso9660"}, "", "", "", 0, OwnerStyle::rock_ridge},
    };
    return rules;
}

}  // namespace

FileSystemRules rules_for(std::string_view type) {
    const auto found = std::find_if(table().begin(), table().end(),
                                    [type](const FileSystemRules& rules) { return rules.type == type; });
    if (found != table().end()) return *found;
    return {std::string(type), {std::string(type)}, "", "", "", 0, OwnerStyle::none};
}

}  // namespace vmdkdm
