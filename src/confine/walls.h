// What stands between a confined child and the machine besides its filter of system calls. Each alone is
// enough to keep it from every file that is not open, and none needs the other.
#pragma once

namespace vmdkdm {

/// An empty directory, in which nothing can be made, becomes the root and the working directory of this
/// process. Who has no CAP_SYS_CHROOT gets a user namespace of his own first, and all capabilities in it.
/// False when that is not granted, or there is no /proc.
bool enter_empty_root();

/// By Landlock, for good: no path can be opened, made, removed or renamed any more, no TCP socket bound or
/// connected. Needs no_new_privs. False when the kernel has it not (before Linux 5.13).
bool close_file_system();

}  // namespace vmdkdm
