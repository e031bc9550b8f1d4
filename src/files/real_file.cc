#include "files/real_file.h"

#include <unistd.h>

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

}  // namespace vmdkdm
