// From what the user wishes to the options that mount(8) would be given. Pure.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "mount/file_systems.h"

namespace vmdkdm {

struct Owner {
    uid_t user = 0;
    std::optional<gid_t> group;
};

struct MountWishes {
    bool writable = false;
    std::string options;  ///< of the user's, as in mount -o; they come last and so win
    std::optional<Owner> owner;
    std::optional<unsigned>
        mode;  ///< permissions of files; directories are searchable where files are readable
};

/// Throws Error (usage) for options of the user's that cannot be: rw without `writable`, remount, bind, ...
void check_user_options(const MountWishes& wishes);

/// "ro,nosuid,nodev,noexec,noatime,..." for a file system of these rules; `no_replay`: its journal must not
/// be touched. Throws Error (refused) for an owner or a mode that the file system does not take.
std::string mount_options(const FileSystemRules& rules, const MountWishes& wishes, bool no_replay);

}  // namespace vmdkdm
