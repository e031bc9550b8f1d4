#include "mount/guard.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "base/concat.h"
#include "kernel/proc.h"

namespace vmdkdm {
namespace {

std::set<std::string> mount_ids() {
    std::set<std::string> ids;
    for (const MountEntry& mount : mounts_of_process("self")) ids.insert(mount.id);
    return ids;
}

// `told`: device numbers, one a line. By device and not by directory, which somebody else may use too.
void unmount_what_is_new(const std::set<std::string>& ids_before, const std::string& told) {
    std::set<dev_t> devices;
    std::istringstream lines(told);
    unsigned device_major = 0;
    unsigned device_minor = 0;
    char colon = 0;
    while (lines >> device_major >> colon >> device_minor)
        devices.insert(makedev(device_major, device_minor));
    std::vector<MountEntry> mounts = mounts_of_process("self");
    std::reverse(mounts.begin(), mounts.end());
    for (const MountEntry& mount : mounts) {
        struct stat source = {};
        const bool by_source = ::stat(mount.source.c_str(), &source) == 0 && devices.contains(source.st_rdev);
        if ((devices.contains(mount.device) || by_source) && !ids_before.contains(mount.id))
            ::umount2(mount.mount_point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
}

}  // namespace

MountGuard::MountGuard()
    : process_([ids = mount_ids()](const std::string& told) { unmount_what_is_new(ids, told); }) {}

void MountGuard::about_to_mount(DeviceNumber device) const { process_.tell(concat(to_string(device), "\n")); }

}  // namespace vmdkdm
