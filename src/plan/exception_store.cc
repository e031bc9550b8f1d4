#include "plan/exception_store.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"

namespace vmdkdm {
namespace {

// struct disk_header: in chunk 0.
constexpr std::size_t magic_offset = 0;
constexpr std::size_t valid_offset = 4;
constexpr std::size_t version_offset = 8;
constexpr std::size_t chunk_size_offset = 12;  // in sectors
constexpr std::size_t header_bytes = 16;
constexpr std::uint32_t magic = 0x70416e53;  // "SnAp"
constexpr std::uint32_t version = 1;

std::uint64_t chunk_bytes(Sectors chunk) { return to_bytes(chunk).count(); }
std::uint64_t exceptions_per_area(Sectors chunk) { return chunk_bytes(chunk) / sizeof(Exception); }

// One chunk each. The list ends inside an area, so one that is exactly full is followed by an empty one.
std::uint64_t areas_for(Sectors chunk, std::uint64_t count) { return count / exceptions_per_area(chunk) + 1; }

// In chunks. After each area comes as much data as its exceptions can name.
std::uint64_t area_position(Sectors chunk, std::uint64_t area) {
    return 1 + area * (exceptions_per_area(chunk) + 1);
}

void check_chunk(Sectors chunk) {
    if (!std::has_single_bit(chunk.count()) || chunk_bytes(chunk) < header_bytes)
        throw Error(ErrorKind::format,
                    concat("an exception store cannot have chunks of ", chunk.count(), " sectors"));
}

void store_le(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i)
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

}  // namespace

ExceptionStore::ExceptionStore(Sectors chunk, std::uint64_t span, std::vector<Exception> exceptions)
    : chunk_(chunk), span_(span), exceptions_(std::move(exceptions)) {
    check_chunk(chunk);
    if (span < span_of(chunk, exceptions_.size()))
        throw Error(ErrorKind::format, "an exception store does not fit into its span");
}

std::uint64_t ExceptionStore::span_of(Sectors chunk, std::uint64_t count) {
    return area_position(chunk, areas_for(chunk, count) - 1) + 1;
}

Bytes ExceptionStore::size() const { return Bytes(checked_multiply(span_, chunk_bytes(chunk_))); }

Bytes ExceptionStore::written_size() const {
    return Bytes((1 + areas_for(chunk_, exceptions_.size())) * chunk_bytes(chunk_));
}

void ExceptionStore::write(
    const std::function<void(Bytes offset, std::span<const std::byte> bytes)>& put) const {
    std::vector<std::byte> bytes(chunk_bytes(chunk_));
    store_le(bytes, magic_offset, magic, 4);
    store_le(bytes, valid_offset, 1, 4);
    store_le(bytes, version_offset, version, 4);
    store_le(bytes, chunk_size_offset, chunk_.count(), 4);
    put(Bytes(0), bytes);

    const std::uint64_t per_area = exceptions_per_area(chunk_);
    for (std::uint64_t area = 0; area < areas_for(chunk_, exceptions_.size()); ++area) {
        std::fill(bytes.begin(), bytes.end(), std::byte{0});
        const std::uint64_t first = area * per_area;
        const std::uint64_t count = std::min<std::uint64_t>(per_area, exceptions_.size() - first);
        for (std::uint64_t i = 0; i < count; ++i) {
            store_le(bytes, i * sizeof(Exception), exceptions_[first + i].old_chunk, 8);
            store_le(bytes, i * sizeof(Exception) + 8, exceptions_[first + i].new_chunk, 8);
        }
        put(Bytes(area_position(chunk_, area) * chunk_bytes(chunk_)), bytes);
    }
}

ExceptionStore ExceptionStore::parse(std::span<const std::byte> file) {
    if (file.size() < header_bytes || load_le32(file, magic_offset) != magic)
        throw Error(ErrorKind::format, "not an exception store");
    if (load_le32(file, valid_offset) != 1) throw Error(ErrorKind::format, "the exception store is invalid");
    if (load_le32(file, version_offset) != version)
        throw Error(ErrorKind::format, "the exception store is of an unknown version");
    const Sectors chunk(load_le32(file, chunk_size_offset));
    check_chunk(chunk);

    std::vector<Exception> exceptions;
    for (std::uint64_t area = 0;; ++area) {
        const std::uint64_t start = checked_multiply(area_position(chunk, area), chunk_bytes(chunk));
        if (start + chunk_bytes(chunk) > file.size())
            throw Error(ErrorKind::format, "the exception store ends inside its list");
        for (std::uint64_t i = 0; i < exceptions_per_area(chunk); ++i) {
            const std::size_t at = static_cast<std::size_t>(start + i * sizeof(Exception));
            const Exception exception{load_le64(file, at), load_le64(file, at + 8)};
            if (exception.new_chunk == 0)
                return {chunk, file.size() / chunk_bytes(chunk), std::move(exceptions)};
            exceptions.push_back(exception);
        }
    }
}

}  // namespace vmdkdm
