#include "overlay/discard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

void sync(const OverlayFile& overlay) {
    if (::fsync(overlay.file()->fd()) != 0)
        throw system_error(concat("cannot write '", overlay.path(), "' to the disk"), errno);
}

// Without a magic number the kernel begins a new store, and clears each area of exceptions before it uses it:
// from here on nothing of what was written is ever seen again.
void forget_store(const OverlayFile& overlay) {
    const std::array<std::byte, sector_size> zeros{};
    if (::pwrite(overlay.file()->fd(), zeros.data(), zeros.size(),
                 static_cast<off_t>(overlay_cow_offset.count())) != static_cast<ssize_t>(zeros.size()))
        throw system_error(concat("cannot write '", overlay.path(), "'"), errno);
    sync(overlay);
}

void give_room_back(const OverlayFile& overlay) {
    const int fd = overlay.file()->fd();
    const auto start = static_cast<off_t>(overlay_cow_offset.count());
    const auto end = static_cast<off_t>(overlay.file()->size().count());
    if (::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, end - start) == 0) return;
    // Not every file system has holes to punch. A crash between the two calls leaves an overlay that is cut
    // short, and empty anyway.
    if (::ftruncate(fd, start) != 0 || ::ftruncate(fd, end) != 0)
        throw system_error(concat("cannot empty '", overlay.path(), "'"), errno);
}

}  // namespace

void discard_changes(const OverlayFile& overlay) {
    forget_store(overlay);
    give_room_back(overlay);
    sync(overlay);
}

}  // namespace vmdkdm
