// Puts the bytes of a chunk into its buffer: reads what is stored, inflates what is compressed.
#pragma once

#include <span>
#include <vector>

#include "compact/chunk.h"
#include "compact/content_digest.h"
#include "compact/damaged_range.h"
#include "compact/grain.h"

namespace vmdkdm {

/// For one thread.
class ChunkFiller {
  public:
    /// Without `inflates` compressed grains are only read, for the digest.
    explicit ChunkFiller(const BlockMap& map, bool inflates = true) : map_(map), inflates_(inflates) {}

    /// `buffer` has the chunk's buffer_bytes. What does not inflate becomes zeros and is added to `damaged`.
    /// `digester`, unless it is null, gets what was read from the files. Throws Error when one cannot be
    /// read.
    void fill(const Chunk& chunk, std::span<std::byte> buffer, std::vector<DamagedRange>& damaged,
              ContentDigester* digester = nullptr);

  private:
    struct Part {
        const Run* run;
        std::span<std::byte> place;
    };

    void read_stored(const std::vector<Part>& parts);
    void inflate(std::vector<Part>& parts, std::vector<DamagedRange>& damaged, ContentDigester* digester);
    void inflate_grain(std::span<const Part> parts, std::vector<DamagedRange>& damaged,
                       ContentDigester* digester);

    const BlockMap& map_;
    bool inflates_;
    GrainInflater inflater_;
    std::vector<Part> stored_;
    std::vector<Part> compressed_;
};

}  // namespace vmdkdm
