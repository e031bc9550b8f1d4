// Who else hears what the kernel says of new devices.
#include <linux/netlink.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

constexpr unsigned kernels_own_group = 1;  // as against what udevd passes on

// In any other, the process 1 that we see is not the machine's. PROC_PID_INIT_INO of the kernel.
bool is_first_pid_namespace() {
    std::error_code error;
    return std::filesystem::read_symlink("/proc/self/ns/pid", error) == "pid:[4026531836]";
}

// sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
// 00000000f3c2b8d5 15  412        00000001 0        0        0     2        0        12345
bool somebody_listens(std::istream& sockets) {
    std::string line;
    if (!std::getline(sockets, line)) return true;
    while (std::getline(sockets, line)) {
        std::istringstream fields(line);
        std::string address;
        std::string port;
        int protocol = 0;
        unsigned groups = 0;
        if (!(fields >> address >> protocol >> port >> std::hex >> groups)) return true;
        if (protocol == NETLINK_KOBJECT_UEVENT && (groups & kernels_own_group) != 0) return true;
    }
    return false;
}

}  // namespace

bool LinuxKernel::may_be_overheard() {
    if (with_udev_) return false;
    if (!is_first_pid_namespace()) return true;
    std::ifstream sockets("/proc/1/net/netlink");
    return somebody_listens(sockets);
}

}  // namespace vmdkdm
