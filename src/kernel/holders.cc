// Who uses a device, and who writes a file: asked of /proc and /sys, for messages that a person can act on
// and for the check before in-place writing.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/concat.h"
#include "kernel/linux_kernel.h"
#include "kernel/proc.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

dev_t device_of_node(const std::string& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode) ? status.st_rdev : dev_t{0};
}

std::vector<std::string> mount_points_seen_by(const std::string& pid, dev_t device) {
    std::vector<std::string> points;
    for (const MountEntry& mount : mounts_of_process(pid)) {
        // btrfs and its like show an anonymous device, but name the real one as their source.
        const bool by_source = mount.source.starts_with("/dev/") && device_of_node(mount.source) == device;
        if (mount.device == device || by_source) points.push_back(mount.mount_point);
    }
    return points;
}

std::string describe_holder_device(const fs::path& holder) {
    std::ifstream in(holder / "dm/name");
    std::string name;
    if (std::getline(in, name)) return concat("dm device '", name, "'");
    return concat("device '", holder.filename().string(), "'");
}

// Calls `visit` with the descriptor's number and what it is open on, for every descriptor of the process.
template <class Visit>
void for_each_open_file(const std::string& pid, Visit&& visit) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(concat("/proc/", pid, "/fd"), ignored)) {
        struct stat status = {};
        if (::stat(entry.path().c_str(), &status) == 0) visit(entry.path().filename().string(), status);
    }
}

bool is_open_for_writing(const std::string& pid, const std::string& fd) {
    std::ifstream in(concat("/proc/", pid, "/fdinfo/", fd));
    for (std::string key; in >> key;) {
        if (key != "flags:") continue;
        int flags = 0;
        in >> std::oct >> flags;
        return (flags & O_ACCMODE) != O_RDONLY;
    }
    return false;
}

// A shared writable mapping outlives the descriptor that it was made with.
bool has_writable_mapping(const std::string& pid, const FileIdentity& identity) {
    std::ifstream in(concat("/proc/", pid, "/maps"));
    // 7f0000000000-7f0000001000 rw-s 00000000 08:01 123456 /path
    for (std::string line; std::getline(in, line);) {
        std::istringstream fields(line);
        std::string range;
        std::string permissions;
        std::string offset;
        std::string device;
        std::uint64_t inode = 0;
        fields >> range >> permissions >> offset >> device >> inode;
        if (permissions.size() < 4 || permissions[1] != 'w' || permissions[3] != 's') continue;
        unsigned device_major = 0;
        unsigned device_minor = 0;
        if (std::sscanf(device.c_str(), "%x:%x", &device_major, &device_minor) != 2) continue;
        if (inode == identity.inode && makedev(device_major, device_minor) == identity.device) return true;
    }
    return false;
}

enum class WriterCheck { none, some, unknown };

// A read lease is granted only while nobody, in whatever namespace, has the file open or mapped for writing
// (a writable loop device counts). Taken and given back at once; unknown when the file system has no leases.
WriterCheck ask_for_lease(const File& file) {
    if (file.kind() != FileKind::regular) return WriterCheck::unknown;
    // Somebody who opens the file for writing while the lease stands makes the kernel send us SIGIO.
    const auto previous = std::signal(SIGIO, SIG_IGN);
    WriterCheck answer = WriterCheck::none;
    if (::fcntl(file.fd(), F_SETLEASE, F_RDLCK) != 0)
        answer = errno == EAGAIN ? WriterCheck::some : WriterCheck::unknown;
    else
        ::fcntl(file.fd(), F_SETLEASE, F_UNLCK);
    std::signal(SIGIO, previous);
    return answer;
}

}  // namespace

std::vector<std::string> LinuxKernel::mount_points(DeviceNumber device) {
    return mount_points_seen_by("self", makedev(device.major, device.minor));
}

std::vector<Holder> LinuxKernel::holders(DeviceNumber device) {
    const dev_t number = makedev(device.major, device.minor);
    std::vector<Holder> found;
    for (const std::string& pid : processes_by_mount_namespace())
        for (const std::string& point : mount_points_seen_by(pid, number)) {
            const std::string where =
                pid == "self" ? "" : concat(" in the mount namespace of ", describe_process(pid));
            found.push_back({Holder::Kind::mount, concat("mounted at '", point, "'", where)});
        }
    std::error_code ignored;
    for (const auto& entry :
         fs::directory_iterator(concat("/sys/dev/block/", to_string(device), "/holders"), ignored))
        found.push_back({Holder::Kind::device, describe_holder_device(entry.path())});
    std::ifstream swaps("/proc/swaps");
    for (std::string line; std::getline(swaps, line);) {
        const std::string path = line.substr(0, line.find_first_of(" \t"));
        if (path.starts_with('/') && device_of_node(path) == number)
            found.push_back({Holder::Kind::swap, "swap space"});
    }
    for_each_process([&](const std::string& pid) {
        bool holds = false;
        for_each_open_file(pid, [&](const std::string&, const struct stat& status) {
            holds = holds || (S_ISBLK(status.st_mode) && status.st_rdev == number);
        });
        if (holds) found.push_back({Holder::Kind::process, describe_process(pid)});
    });
    return found;
}

std::vector<Holder> LinuxKernel::writers(const File& file) {
    const WriterCheck by_lease = ask_for_lease(file);
    if (by_lease == WriterCheck::none) return {};
    const FileIdentity identity = file.identity();
    const auto is_same = [&](const struct stat& status) {
        return file.kind() == FileKind::block_device
                   ? S_ISBLK(status.st_mode) && status.st_rdev == identity.device
                   : S_ISREG(status.st_mode) && status.st_dev == identity.device &&
                         status.st_ino == identity.inode;
    };
    std::vector<Holder> found;
    for_each_process([&](const std::string& pid) {
        bool writes = file.kind() == FileKind::regular && has_writable_mapping(pid, identity);
        for_each_open_file(pid, [&](const std::string& fd, const struct stat& status) {
            writes = writes || (is_same(status) && is_open_for_writing(pid, fd));
        });
        if (writes) found.push_back({Holder::Kind::process, describe_process(pid)});
    });
    for (const LoopInfo& loop : list_loops())
        if (!loop.read_only && loop.backing_identity == identity)
            found.push_back({Holder::Kind::device, concat("loop device ", loop.node)});
    if (found.empty() && by_lease == WriterCheck::some)
        found.push_back({Holder::Kind::process, "a process that cannot be named"});
    return found;
}

}  // namespace vmdkdm
