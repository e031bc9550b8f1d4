// Loop devices, through the ioctls of <linux/loop.h>: LOOP_CONFIGURE (Linux 5.8) sets file, flags and block
// size in one step, so that no half-configured loop is ever seen by udev.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/held_fd.h"
#include "kernel/linux_kernel.h"
#include "kernel/loop_events.h"
#include "kernel/sysfs.h"

namespace vmdkdm {
namespace {

// How udev's rule (udev-rules/) knows a loop of ours, so that nobody looks for file systems at the start of
// an extent file: by a size limit, which it can read in sysfs without a process. The kernel cuts a loop at
// the file's end or at the limit, whichever comes first, and no file is 6 EiB long. "VMDK-DM" in ASCII.
constexpr std::uint64_t loop_mark = 0x564d'444b'2d44'4d00;

// Its udev rule takes every loop device from this number on for ours, unless another's file is bound there.
// So no event of one goes without the mark, not even that of a loop device which has just been made: udev may
// look at it before there is a size limit, and somebody who hears of it when the device is bound. Four
// digits, for the rule; with loop.max_part=255 there are no more than 4096.
constexpr unsigned first_of_ours = 1000;

std::string node_of(unsigned number) { return concat("/dev/loop", number); }

UniqueFd open_loop_control() {
    UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    if (!control && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
        throw Error(ErrorKind::system, "there is no /dev/loop-control (modprobe loop?)");
    if (!control) throw system_error("cannot open /dev/loop-control", errno);
    return control;
}

bool is_bound(unsigned number) {
    return ::access(concat("/sys/block/loop", number, "/loop").c_str(), F_OK) == 0;
}

unsigned unbound_from(unsigned number) {
    while (is_bound(number)) ++number;
    return number;
}

// udevd opens a new device for a moment, and nothing tells when it closes it: so this tries again.
void remove_loop(const UniqueFd& control, unsigned number) {
    constexpr auto patience = std::chrono::seconds(5);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (::ioctl(control.get(), LOOP_CTL_REMOVE, number) < 0 && errno == EBUSY &&
           std::chrono::steady_clock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

// Whether it can be used: a container's own /dev has the nodes that it was given.
bool make_loop(const UniqueFd& control, unsigned number) {
    const bool is_new = ::ioctl(control.get(), LOOP_CTL_ADD, number) >= 0;
    if (!is_new && errno != EEXIST) throw system_error(concat("cannot make ", node_of(number)), errno);
    if (::access(node_of(number).c_str(), F_OK) == 0) return true;
    if (is_new) remove_loop(control, number);
    return false;
}

std::optional<Bytes> available_memory() {
    std::ifstream in("/proc/meminfo");
    std::string key;
    std::uint64_t kibibytes = 0;
    for (std::string unit; in >> key >> kibibytes; std::getline(in, unit))
        if (key == "MemAvailable:") return Bytes(kibibytes * 1024);
    return std::nullopt;
}

// Whether the path leads to the very file that is behind the loop, and what it is like now.
bool is_backing_file(const LoopInfo& loop, struct stat& status) {
    return ::stat(loop.backing_file.c_str(), &status) == 0 && status.st_dev == loop.backing_identity.device &&
           status.st_ino == loop.backing_identity.inode;
}

// The loop keeps the size that its file had when it was bound.
Bytes missing_from(const LoopInfo& loop, Bytes offset, const UniqueFd& device) {
    struct stat status = {};
    std::uint64_t shown = 0;
    if (!is_backing_file(loop, status) || !S_ISREG(status.st_mode) ||
        ::ioctl(device.get(), BLKGETSIZE64, &shown) != 0)
        return Bytes(0);
    const Bytes end = offset + Bytes(shown);
    const Bytes size(static_cast<std::uint64_t>(status.st_size));
    return end > size ? std::min(end - size, Bytes(shown)) : Bytes(0);
}

}  // namespace

unsigned LinuxKernel::free_loop(unsigned least) {
    if (!loop_control_) loop_control_ = open_loop_control();
    if (with_udev_ && !loop_events_) loop_events_ = std::make_unique<LoopEvents>();
    // The first one, or one that follows.
    if (least == 0 || least > first_of_ours) {
        const unsigned number = unbound_from(std::max(least, first_of_ours));
        if (make_loop(loop_control_, number)) return number;
        const int any = ::ioctl(loop_control_.get(), LOOP_CTL_GET_FREE);
        if (any < 0) throw system_error("no free loop device", errno);
        return static_cast<unsigned>(any);
    }
    // GET_FREE would say the same number until somebody has bound it.
    const unsigned number = unbound_from(least);
    make_loop(loop_control_, number);
    return number;
}

HeldDevicePtr LinuxKernel::configure_loop(unsigned number, const LoopConfig& config) {
    const std::string node = node_of(number);
    UniqueFd loop(::open(node.c_str(), (config.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!loop) throw system_error(concat("cannot open ", node), errno);
    struct loop_config request = {};
    request.fd = static_cast<__u32>(config.file_fd);
    request.block_size = config.block_size;
    request.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    request.info.lo_sizelimit = loop_mark;
    if (config.read_only) request.info.lo_flags |= LO_FLAGS_READ_ONLY;
    if (config.direct_io) request.info.lo_flags |= LO_FLAGS_DIRECT_IO;
    request.info.lo_offset = config.offset.count();
    if (config.reference.size() < sizeof request.info.lo_file_name)
        std::memcpy(request.info.lo_file_name, config.reference.data(), config.reference.size());
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &request) != 0) {
        // EAGAIN: the page cache of a loop that was just cleared is still being dropped.
        const int error = errno == EAGAIN ? EBUSY : errno;
        throw system_error(concat("cannot configure ", node), error);
    }
    if (loop_events_) loop_events_->expect(number);
    return std::make_unique<HeldFd>(std::move(loop));
}

DeviceNumber LinuxKernel::loop_device(const HeldDevice& loop) {
    struct stat status = {};
    if (::fstat(loop.fd(), &status) != 0) throw system_error("cannot stat the loop device", errno);
    return {major(status.st_rdev), minor(status.st_rdev)};
}

bool LinuxKernel::loop_does_direct_io(const HeldDevice& loop) {
    struct loop_info64 info = {};
    if (::ioctl(loop.fd(), LOOP_GET_STATUS64, &info) != 0)
        throw system_error("cannot ask the loop device", errno);
    return (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
}

std::vector<LoopInfo> LinuxKernel::list_loops() {
    std::vector<LoopInfo> loops;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/block", ignored)) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("loop") || !std::filesystem::exists(entry.path() / "loop", ignored)) continue;
        LoopInfo info;
        info.node = "/dev/" + name;
        const UniqueFd loop(::open(info.node.c_str(), O_RDONLY | O_CLOEXEC));
        struct loop_info64 status = {};
        struct stat node = {};
        // A loop may be cleared while we look; what is gone is not listed.
        if (!loop || ::ioctl(loop.get(), LOOP_GET_STATUS64, &status) != 0 || ::fstat(loop.get(), &node) != 0)
            continue;
        info.device = {major(node.st_rdev), minor(node.st_rdev)};
        info.backing_file = sysfs_attribute(entry.path() / "loop/backing_file");
        const char* reference = reinterpret_cast<const char*>(status.lo_file_name);
        info.reference.assign(reference, ::strnlen(reference, sizeof status.lo_file_name));
        info.backing_identity = {status.lo_device, status.lo_inode};
        info.read_only = (status.lo_flags & LO_FLAGS_READ_ONLY) != 0;
        info.direct_io = (status.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
        info.autoclear = (status.lo_flags & LO_FLAGS_AUTOCLEAR) != 0;
        info.missing = missing_from(info, Bytes(status.lo_offset), loop);
        loops.push_back(std::move(info));
    }
    return loops;
}

bool LinuxKernel::is_still_bound(const LoopInfo& loop) {
    // Most are gone when this is asked, which sysfs tells without an open.
    const std::string binding = concat("/sys/dev/block/", to_string(loop.device), "/loop");
    if (::access(binding.c_str(), F_OK) != 0) return false;
    const UniqueFd device(::open(loop.node.c_str(), O_RDONLY | O_CLOEXEC));
    struct loop_info64 status = {};
    return device && ::ioctl(device.get(), LOOP_GET_STATUS64, &status) == 0 &&
           loop.backing_identity == FileIdentity{status.lo_device, status.lo_inode};
}

std::optional<Bytes> LinuxKernel::room_for(const LoopInfo& loop) {
    // The kernel's own name for what memfd_create makes.
    if (loop.backing_file.starts_with("/memfd:")) return available_memory();
    struct stat status = {};
    struct statvfs file_system = {};
    if (!is_backing_file(loop, status) || ::statvfs(loop.backing_file.c_str(), &file_system) != 0)
        return std::nullopt;
    return Bytes(checked_multiply(file_system.f_bavail, file_system.f_frsize));
}

}  // namespace vmdkdm
