// A file on several loop devices. A loop device that reads through the page cache serves one request after
// the other, so a disk on one of them has one read under way, however many are asked of it. Here a file is
// cut into stretches that go round its loop devices. One with direct I/O has many reads under way by itself.
// Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "dm/table.h"
#include "map/block_map.h"

namespace vmdkdm {

/// Of a disk that is one large file. Eight give most of what there is to gain (ARCHITECTURE.md, "Reads").
inline constexpr unsigned loops_of_a_disk = 8;

/// Which loop device reads what of each file.
class Spread {
  public:
    /// Deals `loops` out to the files for which `may_have_several` holds, by what the disk shows of them;
    /// each has one at least.
    Spread(const BlockMap& map, unsigned loops, const std::function<bool(const File&)>& may_have_several);

    /// The files of the loops beyond the first of each. These loops come right after the files in a plan.
    const std::vector<FileIndex>& further() const { return further_; }

    /// At the end of `lines` (TableLines or LongTable), cut where a stretch of its file ends.
    template <class Lines>
    void append(Lines& lines, const TableLine& line) const {
        const Share* share = share_of(line);
        if (share == nullptr) {
            lines.add(line);
            return;
        }
        for (Sectors done; done < line.length;) {
            const TableLine piece = piece_of(line, done, *share);
            done += piece.length;
            lines.add(piece);
        }
    }

    /// The same for all of them.
    TableLines over(TableLines lines) const;
    LongTable over(LongTable lines) const;

  private:
    struct Share {
        std::uint32_t loops = 1;
        std::uint32_t second = 0;   // index of the second loop; the first has the file's
        std::uint64_t stretch = 0;  // in sectors, where there are several loops
    };

    // Of the file that the line shows; none where that has one loop.
    const Share* share_of(const TableLine& line) const;
    // From `done` sectors into the line up to the end of a stretch.
    static TableLine piece_of(const TableLine& line, Sectors done, const Share& share);

    std::vector<Share> shares_;  // by file
    std::vector<FileIndex> further_;
};

}  // namespace vmdkdm
