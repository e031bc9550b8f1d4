#include "compact/reflink.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <algorithm>

#include "compact/chunk.h"

namespace vmdkdm {
namespace {

constexpr Sectors clone_step{2 << 20};  // 1 GiB, so that a signal need not wait for long

bool clone(int source_fd, std::uint64_t offset, int fd, std::uint64_t start, std::uint64_t length) {
    struct file_clone_range range = {};
    range.src_fd = source_fd;
    range.src_offset = offset;
    range.src_length = length;
    range.dest_offset = start;
    return ::ioctl(fd, FICLONERANGE, &range) == 0;
}

}  // namespace

std::uint64_t share_stored_runs(const BlockMap& map, const CopyTarget& target,
                                std::vector<SourceFile>& sources, const std::function<void()>& pause) {
    struct statfs status = {};
    if (::fstatfs(target.fd, &status) != 0 || status.f_bsize < 512) return 0;
    const auto block = static_cast<std::uint64_t>(status.f_bsize);
    for (std::size_t i = 0; i < sources.size(); ++i)
        sources[i].shared =
            map.files()[i].file->kind() == FileKind::regular && map.files()[i].file->fd() >= 0;

    std::size_t calls = 0;
    for (const Run& run : map) {
        const auto* stored = std::get_if<Stored>(&run.content);
        if (stored == nullptr) continue;
        SourceFile& source = sources[stored->file];
        for (Run rest = run; source.shared && rest.length > Sectors(0);) {
            const Piece piece = first_piece(rest, clone_step, sources, block);
            // One refusal is enough (other file system, no reflinks there): the whole file is then copied.
            if (piece.shared && has_bytes(piece)) {
                source.shared =
                    clone(map.files()[stored->file].file->fd(),
                          to_bytes(std::get<Stored>(piece.run.content).sector).count(), target.fd,
                          target.offset_of(piece.run.start).count(), to_bytes(piece.run.length).count());
                if (++calls % 64 == 0) pause();
            }
            rest = without_first(rest, piece.run.length);
        }
    }
    return block;
}

}  // namespace vmdkdm
