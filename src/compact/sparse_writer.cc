#include "compact/sparse_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::size_t block_size = 4096;

// One call with more takes several times as long where the page cache then looks for huge pages (ext4 of
// Linux 6.18, measured).
constexpr std::size_t write_size = 256 << 10;

bool is_zero(std::span<const std::byte> bytes) {
    constexpr std::size_t head = 16;
    for (std::size_t i = 0; i < std::min(head, bytes.size()); ++i)
        if (bytes[i] != std::byte{0}) return false;
    return bytes.size() <= head || std::memcmp(bytes.data(), bytes.data() + head, bytes.size() - head) == 0;
}

}  // namespace

std::uint64_t SparseWriter::write(std::uint64_t start, std::span<const std::byte> bytes) {
    if (target_.is_device) {
        append(start, bytes);
        return bytes.size();
    }
    std::uint64_t written = 0;
    while (!bytes.empty()) {
        const std::size_t count =
            std::min<std::size_t>(block_size - static_cast<std::size_t>(start % block_size), bytes.size());
        if (!is_zero(bytes.first(count))) {
            append(start, bytes.first(count));
            written += count;
        }
        bytes = bytes.subspan(count);
        start += count;
    }
    return written;
}

void SparseWriter::append(std::uint64_t start, std::span<const std::byte> bytes) {
    const bool goes_on = !waiting_.empty() && start_ + waiting_.size() == start &&
                         waiting_.data() + waiting_.size() == bytes.data();
    if (!goes_on) {
        flush();
        start_ = start;
        waiting_ = bytes;
    } else {
        waiting_ = {waiting_.data(), waiting_.size() + bytes.size()};
    }
}

// The file system lets one thread at a time write to a file. Those that queue up for it in the kernel spin,
// and take turns call by call; here they sleep, and what belongs together is written in one go.
void SparseWriter::flush() {
    if (waiting_.empty()) return;
    if (target_.is_device) {
        write_out();
        return;
    }
    const std::lock_guard lock(turn_.mutex);
    turn_.written += waiting_.size();
    if (target_.most && Bytes(turn_.written) > *target_.most)
        throw Error(ErrorKind::refused, target_.too_much);
    write_out();
}

void SparseWriter::write_out() {
    while (!waiting_.empty()) {
        const ssize_t count = ::pwrite(target_.fd, waiting_.data(), std::min(waiting_.size(), write_size),
                                       static_cast<off_t>(start_));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0)
            throw system_error(concat("cannot write '", target_.path, "' at byte ", start_, target_.hint),
                               count == 0 ? EIO : errno);
        waiting_ = waiting_.subspan(static_cast<std::size_t>(count));
        start_ += static_cast<std::uint64_t>(count);
    }
}

}  // namespace vmdkdm
