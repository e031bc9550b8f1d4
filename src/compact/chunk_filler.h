// Puts the bytes of a chunk into its buffer: reads what is stored, inflates what is compressed.
#pragma once

#include <span>
#include <vector>

#include "compact/chunk.h"
#include "compact/damaged_range.h"
#include "compact/grain.h"

namespace vmdkdm {

/// For one thread.
class ChunkFiller {
  public:
    explicit ChunkFiller(const BlockMap& map) : map_(map) {}

    /// `buffer` has the chunk's buffer_bytes. What does not inflate becomes zeros and is added to `damaged`.
    /// Throws Error when a file cannot be read.
    void fill(const Chunk& chunk, std::span<std::byte> buffer, std::vector<DamagedRange>& damaged);

  private:
    struct Part {
        const Run* run;
        std::span<std::byte> place;
    };

    void read_stored(const std::vector<Part>& parts);
    void inflate(std::vector<Part>& parts, std::vector<DamagedRange>& damaged);
    void inflate_grain(std::span<const Part> parts, std::vector<DamagedRange>& damaged);

    const BlockMap& map_;
    GrainInflater inflater_;
    std::vector<Part> stored_;
    std::vector<Part> compressed_;
};

}  // namespace vmdkdm
