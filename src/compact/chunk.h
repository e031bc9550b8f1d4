// How the work of a copy is cut up: a chunk is what one thread reads (or inflates) at a time into one buffer.
// Chunks come in the order of the disk where its bytes are hashed, and in the order of the source files where
// they are not.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "compact/source_file.h"
#include "map/block_map.h"

namespace vmdkdm {

/// What is wanted of a disk.
struct Selection {
    bool stored = true;             ///< stored runs; false: compressed ones only
    bool in_order = false;          ///< everything, zeros too, in the order of the disk
    std::uint64_t share_block = 0;  ///< blocks of that many bytes of `shared` files are in the output already
};

struct Piece {
    Run run;              ///< a part of a run of the map; Zero also for a hole of the source file
    bool shared = false;  ///< is in the output already
};

/// The buffer of a chunk holds its stored and compressed pieces one after another.
struct Chunk {
    std::uint64_t number = 0;  ///< 0, 1, 2, ...
    std::vector<Piece> pieces;
    std::size_t buffer_bytes = 0;
};

/// Whether the piece takes room in the buffer.
inline bool has_bytes(const Piece& piece) {
    return std::holds_alternative<Stored>(piece.run.content) ||
           std::holds_alternative<Compressed>(piece.run.content);
}

/// The first part of `run`, at most `limit`, that is treated alike: stored or in a hole, shared or not.
Piece first_piece(const Run& run, Sectors limit, const std::vector<SourceFile>& sources,
                  std::uint64_t share_block);

/// Where on the disk the grain begins that `run` (Compressed) is a part of.
inline Sectors grain_origin(const Run& run) {
    return run.start - Sectors(std::get<Compressed>(run.content).skip);
}

/// Deals out the chunks of a disk.
class ChunkDealer {
  public:
    ChunkDealer(const BlockMap& map, const std::vector<SourceFile>& sources, const Selection& selection);

    /// False at the end.
    bool next(Chunk& chunk);

  private:
    struct StoredRun {
        FileIndex file;
        Sectors sector;
        std::size_t index;  // in the map
        friend auto operator<=>(const StoredRun&, const StoredRun&) = default;
    };

    bool next_run();
    bool is_wanted(const Content& content) const;
    void fill(Chunk& chunk);

    const BlockMap& map_;
    const std::vector<SourceFile>& sources_;
    Selection selection_;
    std::vector<StoredRun> by_source_;  // in the order of their files
    std::size_t next_stored_ = 0;       // in by_source_
    std::size_t next_index_ = 0;        // in map_, of what is not in by_source_
    std::uint64_t number_ = 0;
    bool has_rest_ = false;
    Run rest_;
};

}  // namespace vmdkdm
