#include "mount/system_mount.h"

#include <libmount/libmount.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

using Context = std::unique_ptr<libmnt_context, decltype(&::mnt_free_context)>;

Context new_context(const std::string& directory) {
    Context context(::mnt_new_context(), &::mnt_free_context);
    if (!context || ::mnt_context_set_target(context.get(), directory.c_str()) != 0)
        throw Error(ErrorKind::system, "libmount: out of memory");
    return context;
}

// What mount(8) would say, "mount: /mnt: " left out: the caller's message begins with that.
std::string words_of(libmnt_context* context, int result, int error) {
    std::array<char, 1024> text{};
    ::mnt_context_get_excode(context, result, text.data(), text.size());
    if (text[0] != '\0') return text.data();
    return std::strerror(error);
}

}  // namespace

MountOutcome mount_device(const MountCall& call) {
    const Context context = new_context(call.directory);
    // What /etc/fstab says of the directory is not meant.
    ::mnt_context_set_optsmode(context.get(), MNT_OMODE_NOTAB);
    if (::mnt_context_set_source(context.get(), call.device.c_str()) != 0 ||
        ::mnt_context_set_fstype(context.get(), call.driver.c_str()) != 0 ||
        ::mnt_context_set_options(context.get(), call.options.c_str()) != 0)
        throw Error(ErrorKind::system, "libmount: out of memory");
    // A helper stays as a process, and must not inherit that signals wait.
    std::optional<SignalPassage> passage;
    if (has_mount_helper(call.driver)) passage.emplace();
    errno = 0;
    const int result = ::mnt_context_mount(context.get());
    if (result == 0 && ::mnt_context_get_status(context.get()) == 1) return {};
    int error =
        ::mnt_context_syscall_called(context.get()) != 0 ? ::mnt_context_get_syscall_errno(context.get()) : 0;
    if (error == 0) error = result < 0 ? -result : EIO;
    return {error, words_of(context.get(), result, error)};
}

void unmount(const std::string& directory) {
    const Context context = new_context(directory);
    const int result = ::mnt_context_umount(context.get());
    if (result == 0 && ::mnt_context_get_status(context.get()) == 1) return;
    int error =
        ::mnt_context_syscall_called(context.get()) != 0 ? ::mnt_context_get_syscall_errno(context.get()) : 0;
    if (error == 0) error = result < 0 ? -result : EIO;
    if (error == EBUSY) throw Error(ErrorKind::busy, "it is in use");
    throw Error(ErrorKind::system, words_of(context.get(), result, error));
}

bool has_mount_helper(const std::string& driver) {
    // FS_SEARCH_PATH of util-linux.
    for (const char* directory : {"/sbin", "/sbin/fs.d", "/sbin/fs"})
        if (::access(concat(directory, "/mount.", driver).c_str(), X_OK) == 0) return true;
    return false;
}

}  // namespace vmdkdm
