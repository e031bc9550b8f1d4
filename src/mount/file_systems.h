// What must be known of a file system before it is mounted from somebody else's disk: which driver, how its
// journal is left alone, whether it takes owners and modes as options. One table, in file_systems.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmdkdm {

/// How a file system is told whose its files are to be, and with which permissions.
enum class OwnerStyle {
    none,        ///< it has owners and modes of its own
    masks,       ///< uid=,gid=,fmask=,dmask=
    hfs_masks,   ///< uid=,gid=,file_umask=,dir_umask=
    modes,       ///< uid=,gid=,mode=,dmode=
    rock_ridge,  ///< those, and overriderockperm, without which they are only for discs without modes
    owner_only,  ///< uid=,gid=; modes are the file system's own
};

struct FileSystemRules {
    std::string type;                  ///< libblkid's name
    std::vector<std::string> drivers;  ///< the first whose mount helper is there, else the last
    std::string_view always;           ///< options of every mount
    std::string_view read_only;        ///< options of every read-only mount
    /// Of a read-only mount that must not touch the journal; empty: there is none, or the driver leaves it
    /// alone by itself.
    std::string_view no_replay;
    int needs_replay = 0;  ///< the errno with which a read-only device is refused because of its journal
    OwnerStyle owner = OwnerStyle::none;
};

/// Rules for a type of libblkid's, or for a driver that goes by another name. A file system that is not in
/// the table has a driver of its own name, no special options and owners of its own.
FileSystemRules rules_for(std::string_view type);

}  // namespace vmdkdm
