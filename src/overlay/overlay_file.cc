#include "overlay/overlay_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "compact/output_file.h"
#include "files/local_file.h"
#include "plan/exception_store.h"

namespace vmdkdm {
namespace {

void write_at(const File& file, Bytes offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written =
            ::pwrite(file.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset.count()));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0)
            throw system_error(concat("cannot write '", file.path(), "'"), written < 0 ? errno : ENOSPC);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += Bytes(static_cast<std::uint64_t>(written));
    }
}

void sync(const File& file) {
    if (::fsync(file.fd()) != 0)
        throw system_error(concat("cannot write '", file.path(), "' to the disk"), errno);
}

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Symlinks are followed: the path is the user's own, not a descriptor's.
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
    if (!resolved) throw system_error(concat("overlay '", path, "'"), errno);
    return resolved.get();
}

// The lock belongs to the open file and not to a process: a loop device keeps it for as long as it is bound.
void lock(const File& file, int operation) {
    if (::flock(file.fd(), operation | LOCK_NB) == 0) return;
    if (errno == EWOULDBLOCK)
        throw Error(ErrorKind::busy,
                    concat("the overlay '", file.path(),
                           "' is in use: it is attached (see vmdk-dm list), or a command works on it"));
    // A file system without locks; who asks the kernel for its loop devices still finds an attached one.
    if (errno != ENOLCK && errno != EOPNOTSUPP)
        throw system_error(concat("cannot lock '", file.path(), "'"), errno);
}

FilePtr open_file(const std::string& path, int access, std::optional<int> lock_operation) {
    const std::string real = real_path(path);
    // O_NONBLOCK: opening a FIFO would wait for its other end.
    UniqueFd fd(::open(real.c_str(), access | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd) throw system_error(concat("overlay '", path, "'"), errno);
    FilePtr file = with_context("overlay", [&] { return local_file(real, std::move(fd)); });
    if (lock_operation) lock(*file, *lock_operation);
    return file;
}

OverlayHeader read_header(const File& file) {
    return with_context(concat("'", file.path(), "'"), [&] {
        constexpr std::string_view signature = "vmdk-dm overlay ";
        std::string text(std::min(file.size(), overlay_cow_offset).count(), '\0');
        file.read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
        if (!text.starts_with(signature)) throw Error(ErrorKind::format, "not an overlay of vmdk-dm");
        OverlayHeader header = parse_overlay_header(text);
        if (file.size() < overlay_cow_offset + header.limit)
            throw Error(ErrorKind::format,
                        concat("the overlay is cut short: ", file.size().count(), " bytes, expected ",
                               (overlay_cow_offset + header.limit).count()));
        return header;
    });
}

}  // namespace

Bytes whole_disk_limit(Sectors capacity, Sectors chunk) {
    const std::uint64_t chunks = (capacity.count() + chunk.count() - 1) / chunk.count();
    // Behind the last data the kernel may want one more area of exceptions.
    const std::uint64_t span = ExceptionStore::span_of(chunk, chunks);
    const std::uint64_t areas = (span - 1) / (to_bytes(chunk).count() / sizeof(Exception) + 1) + 1;
    return Bytes(checked_multiply(1 + chunks + areas + 1, to_bytes(chunk).count()));
}

Bytes usable_limit(Bytes limit, Sectors chunk) {
    const std::uint64_t chunk_bytes = to_bytes(chunk).count();
    const std::uint64_t stride = chunk_bytes / sizeof(Exception) + 1;
    std::uint64_t chunks = limit.count() / chunk_bytes;
    // When an area of exceptions is full, the kernel first clears the next one. Where that would lie just
    // beyond the end it does not overflow, as it does when there is no room for data, but gives the whole
    // store up.
    if (chunks > 1 && (chunks - 1) % stride == 0) --chunks;
    if (chunks < 3)
        throw Error(ErrorKind::usage, concat("an overlay of ", limit.count(),
                                             " bytes has room for nothing (at least ", 3 * chunk_bytes, ")"));
    return Bytes(chunks * chunk_bytes);
}

OverlayFile OverlayFile::open(const std::string& path) { return read(open_file(path, O_RDONLY, LOCK_SH)); }

OverlayFile OverlayFile::open_in_use(const std::string& path) {
    return read(open_file(path, O_RDONLY, std::nullopt));
}

OverlayFile OverlayFile::read(FilePtr file) {
    OverlayHeader header = read_header(*file);
    return {std::move(file), std::move(header)};
}

OverlayFile OverlayFile::open_writable(const std::string& path) {
    // Read first: what is no overlay is not even opened for writing.
    open_in_use(path);
    FilePtr file = open_file(path, O_RDWR, LOCK_EX);
    OverlayHeader header = read_header(*file);
    // A growth that was cut short. The loop device goes to the end of the file, and nothing is behind the
    // limit.
    if (const Bytes end = overlay_cow_offset + header.limit; file->size() > end) {
        if (::ftruncate(file->fd(), static_cast<off_t>(end.count())) != 0)
            throw system_error(concat("cannot cut '", path, "' to its limit"), errno);
        file = local_file(file->path(), UniqueFd(::fcntl(file->fd(), F_DUPFD_CLOEXEC, 0)));
    }
    return {std::move(file), std::move(header)};
}

OverlayFile OverlayFile::create(const std::string& path, const OverlayHeader& header) {
    const std::string text = print_overlay_header(header);
    std::string real;
    {
        OutputFile output(path, overlay_cow_offset + header.limit, /*replace=*/false, 0600);
        const FilePtr file = local_file(output.path(), UniqueFd(::fcntl(output.fd(), F_DUPFD_CLOEXEC, 0)));
        write_at(*file, Bytes(0), bytes_of(text));
        output.publish(/*sync=*/true);
        real = output.path();
    }
    // Opened anew by its name: a file that was made without one is "(deleted)" for the loop device, for ever.
    try {
        return open_writable(real);
    } catch (const Error& error) {
        // Somebody who was faster has taken it: then it is theirs.
        if (error.kind() != ErrorKind::busy) ::unlink(real.c_str());
        throw;
    }
}

CowState OverlayFile::cow_state() const {
    constexpr std::size_t header_bytes = 16;
    constexpr std::uint32_t magic = 0x70416e53;  // "SnAp"; see plan/exception_store.cc
    std::array<std::byte, header_bytes> bytes{};
    file_->read_at(overlay_cow_offset, bytes);
    const std::uint32_t found = load_le<std::uint32_t>(bytes, 0);
    if (found == 0) return CowState::untouched;
    if (found != magic || load_le<std::uint32_t>(bytes, 8) != 1)
        throw Error(ErrorKind::format, concat("'", path(), "': byte ", overlay_cow_offset.count(),
                                              " does not begin a snapshot's exception store of version 1"));
    if (const std::uint32_t chunk = load_le<std::uint32_t>(bytes, 12); chunk != header_.chunk.count())
        throw Error(ErrorKind::format, concat("'", path(), "': the exception store has chunks of ", chunk,
                                              " sectors, the overlay's header says ", header_.chunk.count()));
    return load_le<std::uint32_t>(bytes, 4) == 0 ? CowState::invalid : CowState::valid;
}

Bytes OverlayFile::grown_limit(Bytes limit) const {
    if (limit < header_.limit)
        throw Error(ErrorKind::refused, concat("the overlay '", path(), "' has a limit of ",
                                               header_.limit.count(), " bytes and cannot get a smaller one (",
                                               limit.count(), "): what was written may lie anywhere in it"));
    return limit;
}

void OverlayFile::grow(Bytes limit) {
    grown_limit(limit);
    if (limit == header_.limit) return;
    // The file first: one that is longer than its header says is whole.
    if (::ftruncate(file_->fd(), static_cast<off_t>((overlay_cow_offset + limit).count())) != 0)
        throw system_error(concat("cannot make '", path(), "' larger"), errno);
    sync(*file_);
    OverlayHeader header = header_;
    header.limit = limit;
    // Only digits of the first sector change, and a sector is written whole or not at all.
    const std::string text = print_overlay_header(header);
    write_at(*file_, Bytes(0), bytes_of(text).first(std::min<std::size_t>(text.size(), sector_size)));
    sync(*file_);
    header_ = std::move(header);
    // A File knows its size from when it was opened. The copy shares the lock.
    file_ = local_file(path(), UniqueFd(::fcntl(file_->fd(), F_DUPFD_CLOEXEC, 0)));
}

void OverlayFile::make_valid() {
    constexpr std::array valid{std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}};
    write_at(*file_, overlay_cow_offset + Bytes(4), valid);
    sync(*file_);
}

void OverlayFile::remove_name() const noexcept {
    struct stat status = {};
    if (::lstat(path().c_str(), &status) == 0 && status.st_dev == file_->identity().device &&
        status.st_ino == file_->identity().inode)
        ::unlink(path().c_str());
}

}  // namespace vmdkdm
