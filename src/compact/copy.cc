#include "compact/copy.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "compact/chunk.h"
#include "compact/copy_value.h"
#include "compact/crew.h"
#include "compact/reflink.h"
#include "compact/sparse_writer.h"
#include "compact/told_progress.h"
#include "confine/confined_child.h"

namespace vmdkdm {
namespace {

constexpr Sectors zeroing_step{512 << 10};  // 256 MiB in one call
constexpr std::uint64_t device_block = 4096;

class DiskCopy {
  public:
    DiskCopy(const BlockMap& map, const CopyTarget* target, const CopyOptions& options, Progress& progress)
        : map_(map), target_(target), options_(options), progress_(progress) {}

    CopyResult run() {
        std::vector<DamagedRange> unreadable;
        if (!options_.pass_over_unreadable) unreadable = look_at_unreadable_runs();
        sources_.reserve(map_.files().size());
        for (const MappedFile& mapped : map_.files()) sources_.emplace_back(*mapped.file);

        Selection selection{options_.extract == Extract::everything, !options_.hashes.empty(), 0};
        if (target_ != nullptr && !target_->is_device && selection.stored && !options_.content)
            selection.share_block =
                share_stored_runs(map_, *target_, sources_, [this] { progress_.update(Bytes(0), Bytes(0)); });
        count(selection);
        if (target_ != nullptr && !target_->is_device && !target_->most) check_free_space();
        if (target_ != nullptr && target_->is_device) zero_device();

        ChunkDealer dealer(map_, sources_, selection);
        CopyCrew crew(map_, dealer, target_, options_);
        crew.run([this](Bytes done) { progress_.update(zeroed_ + done, total_); });
        return finish(crew.take_result(), std::move(unreadable));
    }

  private:
    std::vector<DamagedRange> look_at_unreadable_runs() const {
        std::vector<DamagedRange> found;
        for (const Run& run : map_) {
            const auto* unreadable = std::get_if<Unreadable>(&run.content);
            if (unreadable == nullptr) continue;
            const Reason& reason = map_.reasons()[unreadable->why];
            if (!options_.allow_damaged)
                throw Error(reason.kind == Reason::Kind::damage ? ErrorKind::format : ErrorKind::refused,
                            concat("bytes ", to_bytes(run.start).count(), " to ",
                                   to_bytes(run.start + run.length).count() - 1,
                                   " of the disk cannot be read: ", reason.text, " (see --allow-damaged)"));
            found.push_back({run.start, run.length, nullptr, Bytes(0), reason.text});
        }
        return found;
    }

    // How much there is to do, and of what kind.
    void count(const Selection& selection) {
        for (const Run& run : map_) {
            if (!selection.stored && !std::holds_alternative<Compressed>(run.content)) continue;
            for (Run rest = run; rest.length > Sectors(0);) {
                const Piece piece = first_piece(rest, rest.length, sources_, selection.share_block);
                const Bytes length = to_bytes(piece.run.length);
                extracted_ += length;
                if (has_bytes(piece)) (piece.shared ? reflinked_ : to_write_) += length;
                rest = without_first(rest, piece.run.length);
            }
        }
        total_ = selection.in_order ? to_bytes(map_.capacity()) : to_write_;
        if (target_ != nullptr && target_->is_device) total_ += extracted_ - to_write_;
    }

    void check_free_space() const {
        struct statvfs status = {};
        if (::fstatvfs(target_->fd, &status) != 0) return;
        const std::uint64_t free = checked_multiply(status.f_bavail, status.f_frsize);
        if (to_write_.count() > free)
            throw Error(ErrorKind::system, concat("no room for '", target_->path, "'", target_->hint, ": ",
                                                  to_write_.count(), " bytes are to be written, and ", free,
                                                  " are free: ", to_write_.count() - free, " too few"));
    }

    // Everything on a device that the copy will not write. Before the copy, and in whole blocks by the
    // kernel: it drops the blocks from the page cache, with whatever waits there to be written.
    void zero_device() {
        for (const Run& run : map_)
            for (Run rest = run; rest.length > Sectors(0);) {
                const Piece piece = first_piece(rest, zeroing_step, sources_, 0);
                if (!has_bytes(piece)) {
                    zero_range(to_bytes(piece.run.start).count(),
                               to_bytes(piece.run.start + piece.run.length).count());
                    zeroed_ += to_bytes(piece.run.length);
                    progress_.update(zeroed_, total_);
                }
                rest = without_first(rest, piece.run.length);
            }
    }

    void zero_range(std::uint64_t start, std::uint64_t end) {
        const std::uint64_t first = std::min(end, (start + device_block - 1) / device_block * device_block);
        const std::uint64_t last = std::max(first, end / device_block * device_block);
        write_zeros(start, first);
        write_zeros(last, end);
        if (first == last) return;
        std::uint64_t range[2] = {first, last - first};
        if (::ioctl(target_->fd, BLKZEROOUT, range) == 0) return;
        if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOTTY)
            throw system_error(concat("cannot zero '", target_->path, "' from byte ", first), errno);
        write_zeros(first, last);
    }

    void write_zeros(std::uint64_t start, std::uint64_t end) {
        static const std::vector<std::byte> zeros(256 << 10);
        WriteTurn turn;
        SparseWriter writer(*target_, turn);
        while (start < end) {
            const std::size_t count =
                static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), end - start));
            writer.write(start, std::span(zeros).first(count));
            writer.flush();
            start += count;
        }
    }

    CopyResult finish(CopyResult result, std::vector<DamagedRange> unreadable) const {
        result.reflinked = reflinked_;
        result.zero = extracted_ - result.copied - result.inflated - result.reflinked;
        result.damaged.insert(result.damaged.end(), unreadable.begin(), unreadable.end());
        std::sort(result.damaged.begin(), result.damaged.end(),
                  [](const DamagedRange& a, const DamagedRange& b) { return a.start < b.start; });
        return result;
    }

    const BlockMap& map_;
    const CopyTarget* target_;
    const CopyOptions& options_;
    Progress& progress_;
    std::vector<SourceFile> sources_;
    Bytes extracted_;
    Bytes to_write_;  // at most: zeros in it become holes
    Bytes reflinked_;
    Bytes zeroed_;
    Bytes total_;  // of the progress
};

// It was made as long as it is to be; nothing is asked of a device.
std::uint64_t size_of(const CopyTarget& target) {
    struct stat status = {};
    if (::fstat(target.fd, &status) != 0) throw system_error(concat("'", target.path, "'"), errno);
    return S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
}

}  // namespace

CopyResult copy_disk(const BlockMap& map, const CopyTarget* target, const CopyOptions& options,
                     Progress& progress) {
    // As a part of other work that is confined already.
    if (is_confined()) return DiskCopy(map, target, options, progress).run();
    ConfinedTask task;
    task.worker = "the copier";
    task.powers = {/*threads=*/true, /*output=*/target != nullptr};
    task.budget =
        Budget::of_copier(to_bytes(map.capacity()).count(), target == nullptr ? 0 : size_of(*target));
    for (const MappedFile& mapped : map.files()) task.keep.push_back(mapped.file->fd());
    if (target != nullptr) task.keep.push_back(target->fd);
    task.work = [&](ParentLink& parent, Encoder& value) {
        ToldProgress told(parent);
        encode_result(value, DiskCopy(map, target, options, told).run(), map);
    };
    task.progress = told_to(progress);
    return value_of_confined(task, [&](Decoder& from) { return decode_result(from, map, options); });
}

}  // namespace vmdkdm
