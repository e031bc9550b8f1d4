#include "mount/our_mounts.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <map>

#include "kernel/proc.h"

namespace vmdkdm {
namespace {

void add_with_uppers(DeviceNumber device, Kernel& kernel, std::vector<DeviceNumber>& devices) {
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) return;
    devices.push_back(device);
    for (const UpperDevice& upper : kernel.devices_above(device))
        add_with_uppers(upper.device, kernel, devices);
}

DeviceNumber number_of(dev_t device) { return {major(device), minor(device)}; }

// btrfs and its like show an anonymous device, but name the real one as their source.
DeviceNumber device_of(const MountEntry& mount) {
    struct stat status = {};
    if (major(mount.device) == 0 && mount.source.starts_with("/dev/") &&
        ::stat(mount.source.c_str(), &status) == 0 && S_ISBLK(status.st_mode))
        return number_of(status.st_rdev);
    return number_of(mount.device);
}

}  // namespace

std::vector<DeviceNumber> devices_on(const AttachedDisk& disk, Kernel& kernel) {
    std::vector<DeviceNumber> devices;
    add_with_uppers(disk.device.device, kernel, devices);
    return devices;
}

bool is_on(const OurMount& mount, const AttachedDisk& disk) {
    return std::find(mount.image_ids.begin(), mount.image_ids.end(), disk.id) != mount.image_ids.end();
}

std::vector<OurMount> list_our_mounts(const std::vector<AttachedDisk>& disks, Kernel& kernel) {
    std::map<DeviceNumber, std::vector<std::string>> image_ids;
    for (const AttachedDisk& disk : disks)
        for (const DeviceNumber device : devices_on(disk, kernel)) image_ids[device].push_back(disk.id);
    std::vector<OurMount> ours;
    for (const MountEntry& mount : mounts_of_process("self")) {
        const DeviceNumber device = device_of(mount);
        if (const auto found = image_ids.find(device); found != image_ids.end())
            ours.push_back({mount.id, mount.mount_point, mount.source, mount.type, device, found->second});
    }
    return ours;
}

}  // namespace vmdkdm
