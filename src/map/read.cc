#include "map/read.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

void read_disk(const BlockMap& map, Bytes offset, std::span<std::byte> out) {
    const Bytes disk_end = to_bytes(map.capacity());
    if (offset + Bytes(out.size()) > disk_end)
        throw Error(ErrorKind::format, concat("the disk ends at byte ", disk_end.count()));
    while (!out.empty()) {
        const Run run = map[map.index_of(whole_sectors(offset))];
        const Bytes inside = offset - to_bytes(run.start);
        const Bytes left = to_bytes(run.length) - inside;
        const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(left.count(), out.size()));
        const std::span<std::byte> piece = out.first(count);
        if (const auto* stored = std::get_if<Stored>(&run.content)) {
            map.files()[stored->file].file->read_at(to_bytes(stored->sector) + inside, piece);
        } else if (std::holds_alternative<Zero>(run.content)) {
            std::fill(piece.begin(), piece.end(), std::byte{0});
        } else {
            throw Error(ErrorKind::format,
                        concat("byte ", offset.count(), " of the disk cannot be read directly"));
        }
        out = out.subspan(count);
        offset += Bytes(count);
    }
}

}  // namespace vmdkdm
