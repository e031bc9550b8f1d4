// What lies on a block device: asked of /sys, which knows mapped devices, MD arrays and the kernel's
// partitions.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/concat.h"
#include "kernel/linux_kernel.h"
#include "kernel/sysfs.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

std::optional<DeviceNumber> number_in(const fs::path& directory) {
    std::ifstream in(directory / "dev");
    DeviceNumber device;
    char colon = 0;
    return in >> device.major >> colon >> device.minor ? std::optional(device) : std::nullopt;
}

// mdadm, or udev for it, makes a link with the array's name.
std::optional<std::string> name_of_array(DeviceNumber device) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/dev/md", ignored)) {
        struct stat status = {};
        if (::stat(entry.path().c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
            status.st_rdev == makedev(device.major, device.minor))
            return entry.path().string();
    }
    return std::nullopt;
}

}  // namespace

std::vector<UpperDevice> LinuxKernel::devices_above(DeviceNumber device) {
    std::vector<UpperDevice> found;
    std::error_code ignored;
    const fs::path directory = fs::canonical(concat("/sys/dev/block/", to_string(device)), ignored);
    const auto add = [&](const fs::path& upper, bool partition) {
        const auto number = number_in(upper);
        if (!number) return;  // gone since it was listed
        std::string path = concat("/dev/", upper.filename().string());
        if (const std::string name = sysfs_attribute(upper / "dm/name"); !name.empty())
            path = device_path(name);
        else if (fs::exists(upper / "md", ignored))
            path = name_of_array(*number).value_or(path);
        found.push_back({*number, std::move(path), partition, sysfs_attribute(upper / "ro") == "1"});
    };
    for (const auto& holder : fs::directory_iterator(directory / "holders", ignored))
        add(fs::canonical(holder.path(), ignored), false);
    for (const auto& entry : fs::directory_iterator(directory, ignored))
        if (fs::exists(entry.path() / "partition", ignored)) add(entry.path(), true);
    std::sort(found.begin(), found.end(),
              [](const UpperDevice& a, const UpperDevice& b) { return a.device < b.device; });
    return found;
}

}  // namespace vmdkdm
