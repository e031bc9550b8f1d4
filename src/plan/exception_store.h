// The metadata of a dm-snapshot as bytes: which chunk of the origin stands where on the COW device. One that
// we make ourselves lets a snapshot target show single grains of an image file, of which nothing is copied.
// Pure. Source: Linux, drivers/md/dm-snap-persistent.c, version 1 of the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/units.h"

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

    /// The exceptions that the kernel would find in a file of that content. Throws Error (format) where it
    /// would refuse it.
    static ExceptionStore parse(std::span<const std::byte> file);

    friend bool operator==(const ExceptionStore&, const ExceptionStore&) = default;

  private:
    Sectors chunk_;
    std::uint64_t span_;
    std::vector<Exception> exceptions_;
};

}  // namespace vmdkdm
