#include "attach/attach_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <functional>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_tries_ms = 20;
// Longer than any attach takes that does not wait for a person, with udev's deadline.
constexpr unsigned patience_ms = 30000;

// Of the open file and not of the process: a guard that outlives us has it too.
bool is_taken(const UniqueFd& control, off_t place) {
    struct flock request = {};
    request.l_type = F_WRLCK;
    request.l_whence = SEEK_SET;
    request.l_start = place;
    request.l_len = 1;
    return ::fcntl(control.get(), F_OFD_SETLK, &request) != 0 && (errno == EAGAIN || errno == EACCES);
}

}  // namespace

AttachLock::AttachLock(Kernel& kernel, const std::string& image_id)
    : control_(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC)) {
    if (!control_) return;
    // Two images on one byte would wait for each other, and that is all.
    constexpr std::size_t most = 0x3fffffff;
    const auto place = static_cast<off_t>(std::hash<std::string>()(image_id) & most);
    for (unsigned waited_ms = 0; is_taken(control_, place); waited_ms += pause_between_tries_ms) {
        kernel.throw_if_interrupted();
        if (waited_ms >= patience_ms)
            throw Error(ErrorKind::busy, concat("another vmdk-dm has been attaching or mounting it for ",
                                                patience_ms / 1000, " s"));
        kernel.pause_ms(pause_between_tries_ms);
    }
}

}  // namespace vmdkdm
