#include "files/real_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

void RealFile::read_at(Bytes offset, std::span<std::byte> out) const {
    std::uint64_t position = offset.count();
    while (!out.empty()) {
        const ssize_t got = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(position));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw system_error(concat("cannot read '", path_, "' at byte ", position), errno);
        if (got == 0)
            throw Error(ErrorKind::format, concat("'", path_, "' ends at byte ", position, ", ", out.size(),
                                                  " more bytes expected"));
        out = out.subspan(static_cast<std::size_t>(got));
        position += static_cast<std::uint64_t>(got);
    }
}

// Nobody reads from where the descriptor stands, so that it may be moved.
File::Stretch RealFile::stored_from(Bytes offset) const {
    const Stretch all{std::min(offset, size_), size_};
    if (kind_ != FileKind::regular || offset >= size_) return all;
    const off_t start = ::lseek(fd_.get(), static_cast<off_t>(offset.count()), SEEK_DATA);
    if (start < 0) return errno == ENXIO ? Stretch{size_, size_} : all;
    const off_t end = ::lseek(fd_.get(), start, SEEK_HOLE);
    // A file that has grown or lost its end since is read as it was found.
    const Bytes stored(std::min<std::uint64_t>(static_cast<std::uint64_t>(start), size_.count()));
    return {stored, end < 0 ? size_ : std::min(Bytes(static_cast<std::uint64_t>(end)), size_)};
}

}  // namespace vmdkdm
