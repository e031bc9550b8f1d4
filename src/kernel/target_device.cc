#include "kernel/target_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

std::string directory_in_sys(dev_t device) {
    std::error_code ignored;
    return fs::canonical(concat("/sys/dev/block/", major(device), ":", minor(device)), ignored).string();
}

dev_t device_of(const fs::path& directory) {
    std::ifstream in(directory / "dev");
    unsigned device_major = 0;
    unsigned device_minor = 0;
    char colon = 0;
    return in >> device_major >> colon >> device_minor ? makedev(device_major, device_minor) : dev_t{0};
}

// The device itself and all that it lies on: the disk of a partition, what a mapped device refers to, the
// disk under the file of a loop.
void add_with_lowers(dev_t device, Kernel& kernel, std::set<dev_t>& found) {
    if (device == 0 || !found.insert(device).second) return;
    const fs::path directory = directory_in_sys(device);
    std::error_code ignored;
    if (fs::exists(directory / "partition", ignored))
        add_with_lowers(device_of(directory.parent_path()), kernel, found);
    for (const auto& lower : fs::directory_iterator(directory / "slaves", ignored))
        add_with_lowers(device_of(lower.path()), kernel, found);
    if (fs::exists(directory / "loop", ignored))
        for (const LoopInfo& loop : kernel.list_loops())
            if (makedev(loop.device.major, loop.device.minor) == device)
                add_with_lowers(static_cast<dev_t>(loop.backing_identity.device), kernel, found);
}

std::set<dev_t> with_lowers(dev_t device, Kernel& kernel) {
    std::set<dev_t> found;
    add_with_lowers(device, kernel, found);
    return found;
}

void refuse_sources(const std::string& path, dev_t target, Kernel& kernel,
                    const std::vector<FileIdentity>& sources) {
    const std::set<dev_t> below_target = with_lowers(target, kernel);
    for (const FileIdentity& source : sources) {
        const auto device = static_cast<dev_t>(source.device);
        const bool is_device = source.inode == 0;
        if (with_lowers(device, kernel).contains(target) || (is_device && below_target.contains(device)))
            throw Error(ErrorKind::refused, concat("a file of the image lies on '", path, "'"));
    }
    for (const LoopInfo& loop : kernel.list_loops()) {
        if (!below_target.contains(makedev(loop.device.major, loop.device.minor))) continue;
        for (const FileIdentity& source : sources)
            if (source == loop.backing_identity)
                throw Error(ErrorKind::refused, concat("'", path, "' is a file of the image itself"));
    }
}

void refuse_users(const std::string& path, DeviceNumber device, Kernel& kernel, int error) {
    const std::vector<Holder> holders = kernel.holders(device);
    if (error == EBUSY || !holders.empty())
        throw Error(ErrorKind::busy,
                    concat("'", path, "' is in use: ",
                           holders.empty() ? "its holder cannot be named" : holders.front().what));
}

}  // namespace

TargetDevice open_target_device(Kernel& kernel, const std::string& path, Bytes capacity,
                                const std::vector<FileIdentity>& sources, bool force) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) throw system_error(concat("'", path, "'"), errno);
    if (!S_ISBLK(status.st_mode))
        throw Error(ErrorKind::refused, concat("'", path, "' is not a block device"));
    const DeviceNumber device{major(status.st_rdev), minor(status.st_rdev)};
    refuse_sources(path, status.st_rdev, kernel, sources);

    refuse_users(path, device, kernel, 0);
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    if (!fd && errno == EBUSY) refuse_users(path, device, kernel, EBUSY);
    if (!fd) throw system_error(concat("cannot open '", path, "' for writing"), errno);

    // What was looked at must be what is overwritten, whatever the name means now.
    struct stat opened = {};
    if (::fstat(fd.get(), &opened) != 0) throw system_error(concat("'", path, "'"), errno);
    if (!S_ISBLK(opened.st_mode) || opened.st_rdev != status.st_rdev)
        throw Error(ErrorKind::busy, concat("'", path, "' became another device while it was opened"));

    std::uint64_t size = 0;
    if (::ioctl(fd.get(), BLKGETSIZE64, &size) != 0)
        throw system_error(concat("size of '", path, "'"), errno);
    if (size < capacity.count())
        throw Error(ErrorKind::refused, concat("'", path, "' has ", size, " bytes, but the disk has ",
                                               capacity.count(), ": ", capacity.count() - size, " too few"));
    if (const std::string found = signature_on(fd.get()); !force && !found.empty())
        throw Error(ErrorKind::refused, concat("'", path, "' holds ", found, " (see --force)"));
    return {std::move(fd), path, Bytes(size)};
}

}  // namespace vmdkdm
