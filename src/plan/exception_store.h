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

/// The kernel keeps a chunk's number in so many bits, and a count in those above.
inline constexpr unsigned chunk_number_bits = 56;

/// Where on the COW device the data begins, and what is counted from there, each stay below half of that, so
/// that no sum can be too large. No file has so many chunks: 2^63 bytes are 2^54 of the smallest.
inline constexpr std::uint64_t most_chunks = std::uint64_t{1} << (chunk_number_bits - 1);

/// Exceptions as runs of a disk give them: stretches in which both numbers go on. A stretch of up to 256 is
/// kept in 16 bytes, as the kernel keeps it, however long the list will be in the store.
class ExceptionList {
  public:
    /// `count` chunks of the disk from `first.old_chunk` on. Throws UnitOverflow beyond most_chunks.
    void add(const Exception& first, std::uint64_t count);

    /// Makes room for so many stretches at once. Memory that none comes to fill is never touched.
    void reserve(std::size_t stretches) { stretches_.reserve(stretches); }

    std::uint64_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    /// Calls `visit(Exception)` for each, the one that was added last first: the kernel keeps its lists
    /// ascending and looks for the place of each from the front, so that it finds that at once.
    template <class Visit>
    void from_the_end(Visit&& visit) const {
        for (auto stretch = stretches_.rbegin(); stretch != stretches_.rend(); ++stretch)
            for (std::uint64_t i = stretch->more() + 1; i-- > 0;)
                visit(Exception{stretch->old_chunk + i, stretch->new_chunk() + i});
    }

  private:
    struct Stretch {
        std::uint64_t old_chunk;
        std::uint64_t new_chunk_and_more;  // how many follow the first, above the number
        std::uint64_t more() const { return new_chunk_and_more >> chunk_number_bits; }
        std::uint64_t new_chunk() const {
            return new_chunk_and_more & ((std::uint64_t{1} << chunk_number_bits) - 1);
        }
    };
    static_assert(sizeof(Stretch) == 16);

    std::vector<Stretch> stretches_;
    std::uint64_t size_ = 0;
};

/// A store's file, written as the kernel writes it.
class StoreWriter {
  public:
    /// Is called with every piece of the file that is not a hole, in order.
    using Put = std::function<void(Bytes offset, std::span<const std::byte> bytes)>;

    /// Puts the header.
    StoreWriter(Sectors chunk, Put put);

    void add(const Exception& exception);
    /// Ends the list.
    void finish() { put_area(); }

  private:
    void put_area();

    Sectors chunk_;
    Put put_;
    std::vector<std::byte> area_;
    std::size_t filled_ = 0;
    std::uint64_t areas_ = 0;
};

class ExceptionStore {
  public:
    /// `chunk` is a power of two; `span` is where on the COW device, in chunks, the store ends and data may
    /// begin: at least span_of(exceptions.size()). The list counts new chunks from there. Throws
    /// UnitOverflow beyond most_chunks.
    ExceptionStore(Sectors chunk, std::uint64_t span, ExceptionList exceptions);

    /// Chunks that a store of `count` exceptions takes. Most of them are holes: the kernel puts an area of
    /// exceptions before each stretch of as many chunks of data.
    static std::uint64_t span_of(Sectors chunk, std::uint64_t count);

    Sectors chunk() const { return chunk_; }
    /// How many it holds.
    std::uint64_t count() const { return exceptions_.size(); }
    /// Of the file that holds the store.
    Bytes size() const;
    /// What write() hands out, holes not counted.
    Bytes written_size() const;

    void write(const StoreWriter::Put& put) const;

  private:
    Sectors chunk_;
    std::uint64_t span_;
    ExceptionList exceptions_;
};

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
