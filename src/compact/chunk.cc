#include "compact/chunk.h"

#include <algorithm>

namespace vmdkdm {
namespace {

constexpr Sectors chunk_size{2048};          // of a buffer
constexpr Sectors largest_chunk{128 << 10};  // when grains reach further than chunk_size
constexpr Sectors zero_step{128 << 10};      // of zeros that are hashed
constexpr std::size_t most_pieces = 4096;

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// [first, second) of the run's bytes on the disk that can be shared: whole blocks, at the same place in a
// block on both sides.
std::pair<std::uint64_t, std::uint64_t> shareable(const Run& run, std::uint64_t block) {
    const std::uint64_t start = to_bytes(run.start).count();
    const std::uint64_t end = to_bytes(run.start + run.length).count();
    const std::uint64_t offset = to_bytes(std::get<Stored>(run.content).sector).count();
    if (start % block != offset % block) return {end, end};
    const std::uint64_t first = std::min(round_up(start, block), end);
    return {first, std::max(first, end / block * block)};
}

}  // namespace

Piece first_piece(const Run& run, Sectors limit, const std::vector<SourceFile>& sources,
                  std::uint64_t share_block) {
    Piece piece{run, false};
    const auto* stored = std::get_if<Stored>(&run.content);
    if (stored == nullptr) {
        piece.run.length = std::min(run.length, limit);
        return piece;
    }
    const SourceFile& source = sources[stored->file];
    const std::uint64_t offset = to_bytes(stored->sector).count();
    const std::uint64_t start = to_bytes(run.start).count();
    std::uint64_t length = to_bytes(run.length).count();
    if (source.shared && share_block != 0) {
        const auto [first, last] = shareable(run, share_block);
        piece.shared = start >= first && start < last;
        length = (start < first ? first : start < last ? last : start + length) - start;
    }
    const SourceFile::Stretch stretch = source.at(offset);
    if (stretch.hole) piece.run.content = Zero{};
    if (stretch.end - offset < length) length = stretch.end - offset;
    piece.run.length =
        stretch.hole ? whole_sectors(Bytes(length)) : std::min(whole_sectors(Bytes(length)), limit);
    return piece;
}

ChunkDealer::ChunkDealer(const BlockMap& map, const std::vector<SourceFile>& sources,
                         const Selection& selection)
    : map_(map), sources_(sources), selection_(selection) {
    if (selection.in_order || !selection.stored) return;
    for (std::size_t i = 0; i < map.size(); ++i) {
        const Run run = map[i];
        if (const auto* stored = std::get_if<Stored>(&run.content))
            by_source_.push_back({stored->file, stored->sector, i});
    }
    std::sort(by_source_.begin(), by_source_.end());
}

bool ChunkDealer::is_wanted(const Content& content) const {
    if (selection_.in_order) return true;
    return std::holds_alternative<Compressed>(content);  // stored ones come by source
}

// Moves on when nothing is left of the present run.
bool ChunkDealer::next_run() {
    if (has_rest_) return true;
    if (next_stored_ < by_source_.size()) {
        rest_ = map_[by_source_[next_stored_++].index];
        return has_rest_ = true;
    }
    while (next_index_ < map_.size() && !is_wanted(map_[next_index_].content)) ++next_index_;
    if (next_index_ == map_.size()) return false;
    rest_ = map_[next_index_++];
    return has_rest_ = true;
}

void ChunkDealer::fill(Chunk& chunk) {
    Sectors taken;
    Sectors zeros;
    Sectors grain_end;  // a grain is not cut in two, or it would be inflated twice
    const auto has_room = [&] {
        if (chunk.pieces.size() >= most_pieces || zeros >= zero_step) return false;
        return taken < chunk_size || (taken < largest_chunk && rest_.start < grain_end);
    };
    while (next_run() && has_room()) {
        const bool compressed = std::holds_alternative<Compressed>(rest_.content);
        const Sectors limit = compressed ? largest_chunk
                              : std::holds_alternative<Stored>(rest_.content)
                                  ? (taken < chunk_size ? chunk_size - taken : chunk_size)
                                  : zero_step;
        const Piece piece = first_piece(rest_, limit, sources_, selection_.share_block);
        if (compressed) {
            const auto& layout = map_.files()[std::get<Compressed>(rest_.content).file].grains;
            const Sectors end = grain_origin(rest_) + (layout ? layout->grain_size : Sectors(0));
            grain_end = std::max(grain_end, end);
        }
        if (has_bytes(piece))
            taken += piece.run.length;
        else
            zeros += piece.run.length;
        if (selection_.in_order || (has_bytes(piece) && !piece.shared))
            chunk.pieces.push_back(piece);
        else if (has_bytes(piece))
            taken = taken - piece.run.length;
        has_rest_ = piece.run.length < rest_.length;
        if (has_rest_) rest_ = without_first(rest_, piece.run.length);
    }
    chunk.buffer_bytes = static_cast<std::size_t>(to_bytes(taken).count());
}

bool ChunkDealer::next(Chunk& chunk) {
    chunk.pieces.clear();
    chunk.buffer_bytes = 0;
    while (chunk.pieces.empty() && next_run()) fill(chunk);
    chunk.number = number_;
    if (chunk.pieces.empty()) return false;
    ++number_;
    return true;
}

}  // namespace vmdkdm
