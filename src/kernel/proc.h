// Reading /proc: who has what mounted, open or mapped.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace vmdkdm {

struct MountEntry {
    std::string id;    ///< unique while it is mounted
    dev_t device = 0;  ///< of the file system; anonymous for btrfs and its like
    std::string mount_point;
    std::string type;    ///< "ext4", "fuseblk"
    std::string source;  ///< "/dev/mapper/web1"
};

/// Mounts in the mount namespace of process `pid` ("self" for ours); empty when it is gone.
std::vector<MountEntry> mounts_of_process(const std::string& pid);

/// One process id for each mount namespace that we can see, ours ("self") first.
std::vector<std::string> processes_by_mount_namespace();

/// Calls `visit` with the id of every process, ours too (it may have inherited a descriptor), as text.
void for_each_process(const std::function<void(const std::string& pid)>& visit);

/// Processes that have a file of the file system open, run a program from it or are in a directory of it, as
/// texts; `device` is st_dev of its files.
std::vector<std::string> processes_on_file_system(dev_t device);

/// "process 123 (dd)"
std::string describe_process(const std::string& pid);

}  // namespace vmdkdm
