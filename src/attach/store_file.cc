#include "attach/store_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

void write_at(int fd, Bytes offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset.count()));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) throw system_error("write", written < 0 ? errno : ENOSPC);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += Bytes(static_cast<std::uint64_t>(written));
    }
}

UniqueFd make_nameless_file(const std::string& directory) {
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        throw system_error("cannot make the directory", errno);
    UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!file) throw system_error("cannot make a file without a name", errno);
    return file;
}

}  // namespace

bool can_hold_store(const std::string& directory) {
    try {
        make_nameless_file(directory);
        return true;
    } catch (const Error&) {
        return false;
    }
}

UniqueFd write_store(const ExceptionStore& store, const std::string& directory) {
    return with_context(concat("exception store of ", store.written_size().count(), " bytes in '", directory,
                               "' (see --run-dir)"),
                        [&] {
                            UniqueFd file = make_nameless_file(directory);
                            store.write([&](Bytes offset, std::span<const std::byte> bytes) {
                                write_at(file.get(), offset, bytes);
                            });
                            if (::ftruncate(file.get(), static_cast<off_t>(store.size().count())) != 0)
                                throw system_error("ftruncate", errno);
                            return file;
                        });
}

}  // namespace vmdkdm
