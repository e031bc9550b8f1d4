#include "base/close_on_exec.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <limits>

namespace vmdkdm {

void close_on_exec_from(unsigned first) {
    if (::syscall(SYS_close_range, first, std::numeric_limits<unsigned>::max(), CLOSE_RANGE_CLOEXEC) == 0)
        return;
    // Before Linux 5.11.
    DIR* const directory = ::opendir("/proc/self/fd");
    if (directory == nullptr) return;
    while (const dirent* const entry = ::readdir(directory))
        if (const unsigned long number = std::strtoul(entry->d_name, nullptr, 10); number >= first)
            ::fcntl(static_cast<int>(number), F_SETFD, FD_CLOEXEC);
    ::closedir(directory);
}

}  // namespace vmdkdm
