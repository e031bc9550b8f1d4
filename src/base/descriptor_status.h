// What the kernel knows of an open file, asked of the descriptor by a call that takes no path. fstat() of the
// C library may be newfstatat, which takes one, and which confined children therefore have not.
#pragma once

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace vmdkdm {

/// 0, or -1 with errno.
inline int status_of_descriptor(int fd, struct stat& status) {
// Elsewhere the kernel's struct stat is not the C library's.
#if defined(SYS_fstat) && defined(__LP64__)
    return static_cast<int>(::syscall(SYS_fstat, fd, &status));
#else
    return ::fstat(fd, &status);
#endif
}

}  // namespace vmdkdm
