#include "compact/chunk_filler.h"

#include <algorithm>
#include <tuple>

#include "base/concat.h"

namespace vmdkdm {

void ChunkFiller::fill(const Chunk& chunk, std::span<std::byte> buffer, std::vector<DamagedRange>& damaged,
                       ContentDigester* digester) {
    stored_.clear();
    compressed_.clear();
    std::size_t used = 0;
    for (const Piece& piece : chunk.pieces) {
        if (!has_bytes(piece)) continue;
        const std::size_t size = static_cast<std::size_t>(to_bytes(piece.run.length).count());
        const Part part{&piece.run, buffer.subspan(used, size)};
        (std::holds_alternative<Stored>(piece.run.content) ? stored_ : compressed_).push_back(part);
        used += size;
    }
    read_stored(stored_);
    if (digester != nullptr)
        for (const Part& part : stored_) digester->add(*part.run, digester->tag(part.place));
    inflate(compressed_, damaged, digester);
}

// Neighbours in the file that are neighbours in the buffer are read with one call.
void ChunkFiller::read_stored(const std::vector<Part>& parts) {
    for (std::size_t i = 0; i < parts.size();) {
        const Stored first = std::get<Stored>(parts[i].run->content);
        std::span<std::byte> place = parts[i].place;
        Sectors end = first.sector + parts[i].run->length;
        for (++i; i < parts.size(); ++i) {
            const Stored& next = std::get<Stored>(parts[i].run->content);
            if (next.file != first.file || next.sector != end ||
                parts[i].place.data() != place.data() + place.size())
                break;
            place = {place.data(), place.size() + parts[i].place.size()};
            end += parts[i].run->length;
        }
        map_.files()[first.file].file->read_at(to_bytes(first.sector), place);
    }
}

// A child may show a grain of its parent in pieces: it is inflated once for all of them.
void ChunkFiller::inflate(std::vector<Part>& parts, std::vector<DamagedRange>& damaged,
                          ContentDigester* digester) {
    const auto key = [](const Part& part) {
        const auto& content = std::get<Compressed>(part.run->content);
        return std::tuple(content.file, content.sector, grain_origin(*part.run));
    };
    std::stable_sort(parts.begin(), parts.end(),
                     [&key](const Part& a, const Part& b) { return key(a) < key(b); });
    for (std::size_t i = 0; i < parts.size();) {
        std::size_t end = i + 1;
        while (end < parts.size() && key(parts[end]) == key(parts[i])) ++end;
        inflate_grain(std::span(parts).subspan(i, end - i), damaged, digester);
        i = end;
    }
}

void ChunkFiller::inflate_grain(std::span<const Part> parts, std::vector<DamagedRange>& damaged,
                                ContentDigester* digester) {
    const auto& grain = std::get<Compressed>(parts.front().run->content);
    const MappedFile& file = map_.files()[grain.file];
    const std::span<std::byte> direct =
        parts.size() == 1 && grain.skip == 0 ? parts.front().place : std::span<std::byte>();
    const Sectors origin = grain_origin(*parts.front().run);
    const GrainInflater::Result result = inflates_ ? inflater_.inflate(file, grain.sector, origin, direct)
                                                   : inflater_.read(file, grain.sector, origin);
    if (digester != nullptr) {
        const ContentDigester::Tag tag = digester->tag(result.stored);
        for (const Part& part : parts) digester->add(*part.run, tag);
    }
    if (!inflates_ && result.problem.empty()) return;
    for (const Part& part : parts) {
        const std::uint64_t skip = to_bytes(Sectors(std::get<Compressed>(part.run->content).skip)).count();
        if (result.problem.empty() && skip + part.place.size() <= result.bytes.size()) {
            if (result.bytes.data() != part.place.data())
                std::copy_n(result.bytes.begin() + static_cast<std::ptrdiff_t>(skip), part.place.size(),
                            part.place.begin());
            continue;
        }
        std::fill(part.place.begin(), part.place.end(), std::byte{0});
        damaged.push_back({part.run->start, part.run->length, file.file, to_bytes(grain.sector),
                           !result.problem.empty()
                               ? result.problem
                               : concat("'", file.file->path(), "': the compressed grain at byte ",
                                        to_bytes(grain.sector).count(), " inflates to too little")});
    }
}

}  // namespace vmdkdm
