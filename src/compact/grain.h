// One compressed grain: u64 sector of the extent that it belongs to, u32 compressed size, then a zlib stream
// (format reference, 7.1). Nothing in it is trusted: the output is bounded by the size of a grain, and a
// grain that stands elsewhere than its own header says is damage.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

/// A buffer that is not cleared before it is filled, and keeps what it has.
class Buffer {
  public:
    /// At least `size` bytes; the content is lost when it has to grow.
    std::span<std::byte> take(std::size_t size);
    std::size_t capacity() const { return capacity_; }

  private:
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t capacity_ = 0;
};

/// For one thread.
class GrainInflater {
  public:
    GrainInflater();
    ~GrainInflater();
    GrainInflater(const GrainInflater&) = delete;
    GrainInflater& operator=(const GrainInflater&) = delete;

    struct Result {
        std::span<const std::byte> bytes;   ///< valid until the next call
        std::span<const std::byte> stored;  ///< header and compressed data as they lie in the file; likewise
        std::string problem;  ///< when not empty: what is wrong with the grain, file and place named
    };

    /// The grain whose header is at `sector` of the file and which begins at `origin` of the disk. `place` is
    /// where the bytes go when they fit there; otherwise they go into a buffer of its own. Throws Error when
    /// the file cannot be read.
    Result inflate(const MappedFile& file, Sectors sector, Sectors origin, std::span<std::byte> place);
    /// The same without inflating: no `bytes`, and a problem only where the header has one.
    Result read(const MappedFile& file, Sectors sector, Sectors origin);

  private:
    struct Decompressor;

    std::string check_header(const MappedFile& file, Sectors sector, Sectors origin, std::size_t& size);
    std::span<const std::byte> read(const File& file, Bytes offset, std::size_t size);

    std::unique_ptr<Decompressor> decompressor_;
    Buffer inflated_;
    // What was read last: neighbours in the file are read with one call.
    Buffer window_;
    const File* window_file_ = nullptr;
    std::uint64_t window_start_ = 0;
    std::span<std::byte> window_bytes_;
};

}  // namespace vmdkdm
