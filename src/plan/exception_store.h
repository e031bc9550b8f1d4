// The metadata of a dm-snapshot as bytes: which chunk of the origin stands where on the COW device. One that
// we make ourselves lets a snapshot target show single grains of an image file, of which nothing is copied;
// one that the kernel wrote says what an overlay has changed.
// Source: Linux, drivers/md/dm-snap-persistent.c, version 1 of the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/units.h"
#include "files/file.h"

namespace vmdkdm {

/// Chunk `old_chunk` of the disk is chunk `new_chunk` of the COW device.
struct Exception {
    std::uint64_t old_chunk = 0;
    std::uint64_t new_chunk = 0;  ///< never 0: that ends the list
    friend bool operator==(const Exception&, const Exception&) = default;
};
static_assert(sizeof(Exception) == 16);

class ExceptionStore {
  public:
    /// `chunk` is a power of two; `span` is where on the COW device, in chunks, the store ends and data may
    /// begin: at least span_of(exceptions.size()).
    ExceptionStore(Sectors chunk, std::uint64_t span, std::vector<Exception> exceptions);

    /// Chunks that a store of `count` exceptions takes. Most of them are holes: the kernel puts an area of
    /// exceptions before each stretch of as many chunks of data.
    static std::uint64_t span_of(Sectors chunk, std::uint64_t count);

    Sectors chunk() const { return chunk_; }
    const std::vector<Exception>& exceptions() const { return exceptions_; }
    /// Of the file that holds the store.
    Bytes size() const;
    /// What write() hands out, holes not counted.
    Bytes written_size() const;

    /// Calls `put` with every piece of the file that is not a hole, in order.
    void write(const std::function<void(Bytes offset, std::span<const std::byte> bytes)>& put) const;

  private:
    Sectors chunk_;
    std::uint64_t span_;
    std::vector<Exception> exceptions_;
};

/// The kernel keeps a chunk's number in so many bits, and a count in those above.
inline constexpr unsigned chunk_number_bits = 56;

/// Whether the chunk of a COW device is the header, or kept for an area of exceptions.
bool is_metadata(Sectors chunk, std::uint64_t number);

/// A store as it is found.
struct FoundStore {
    Sectors chunk;
    bool valid = true;  ///< false: the kernel gave the snapshot up, because it could not write to it
    std::vector<Exception> exceptions;  ///< as they are listed: those that were committed
    std::uint64_t next_free = 0;        ///< the chunk at which the kernel would go on
};

/// A COW device: a part of a file, which must lie inside it.
struct CowArea {
    const File* file = nullptr;
    Bytes start;
    Bytes size;
};

/// The exceptions that the kernel would find. Nothing where no store was ever begun. Throws Error (format)
/// where the kernel would refuse the store, and for one that lists more chunks than a disk of `capacity` has.
std::optional<FoundStore> read_exception_store(const CowArea& cow, Sectors capacity = max_capacity);

}  // namespace vmdkdm
