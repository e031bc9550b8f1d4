#include "stack/keys.h"

#include <fcntl.h>
#include <strings.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

constexpr std::size_t max_key_size = std::size_t{8} << 20;  // as cryptsetup's

Secret read_to_the_end(int fd, const std::string& name) {
    // Room for all from the start: a string that grows leaves copies of the key in memory.
    std::string bytes(max_key_size + 1, '\0');
    std::size_t size = 0;
    for (;;) {
        const ssize_t got = ::read(fd, bytes.data() + size, bytes.size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw system_error(concat("cannot read the key from ", name), errno);
        if (got == 0) break;
        size += static_cast<std::size_t>(got);
        if (size == bytes.size())
            throw Error(ErrorKind::refused, concat("the key in ", name, " is longer than 8 MiB"));
    }
    if (size == 0) throw Error(ErrorKind::refused, concat(name, " holds no key: it is empty"));
    Secret key(std::string(bytes, 0, size));
    ::explicit_bzero(bytes.data(), size);
    return key;
}

}  // namespace

Secret& Secret::operator=(Secret&& other) noexcept {
    wipe();
    bytes_ = std::move(other.bytes_);
    other.wipe();
    return *this;
}

void Secret::wipe() noexcept {
    ::explicit_bzero(bytes_.data(), bytes_.capacity());
    bytes_.clear();
}

Secret read_key(const KeySource& source) {
    if (const auto* descriptor = std::get_if<KeyDescriptor>(&source))
        return read_to_the_end(descriptor->fd, concat("descriptor ", descriptor->fd));
    const std::string& path = std::get<KeyFile>(source).path;
    if (path == "-") return read_to_the_end(STDIN_FILENO, "standard input");
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw system_error(concat("cannot open the key file '", path, "'"), errno);
    return read_to_the_end(file.get(), concat("'", path, "'"));
}

}  // namespace vmdkdm
