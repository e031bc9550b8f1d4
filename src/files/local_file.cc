#include "files/local_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/concat.h"
#include "base/error.h"
#include "files/real_file.h"

namespace vmdkdm {

FilePtr open_local_file(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) throw system_error(concat("cannot open '", path, "'"), errno);
    return local_file(path, std::move(fd));
}

FilePtr local_file(const std::string& path, UniqueFd fd) {
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0) throw system_error(concat("'", path, "'"), errno);
    if (!S_ISREG(status.st_mode))
        throw Error(ErrorKind::refused, concat("'", path, "' is not a regular file"));
    return std::make_shared<RealFile>(path, std::move(fd), FileKind::regular,
                                      FileIdentity{status.st_dev, status.st_ino},
                                      Bytes(static_cast<std::uint64_t>(status.st_size)));
}

}  // namespace vmdkdm
