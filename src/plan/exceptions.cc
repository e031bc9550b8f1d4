#include "plan/exceptions.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>

#include "base/error.h"

namespace vmdkdm {
namespace {

// A chunk is one read of the kernel's, and an area of the store is one chunk: large ones waste memory on
// short lists.
constexpr unsigned min_chunk_shift = 3;   // 4 KiB
constexpr unsigned max_chunk_shift = 11;  // 1 MiB

// From so many chunks on a run costs less as a line than as exceptions.
constexpr std::uint64_t chunks_of_a_long_run = 32;

// The longest runs are read past the snapshot, which cuts what it reads at its chunks: as many as load in no
// time.
constexpr std::size_t max_direct_runs = 10000;

// log2 of the largest chunk at whose borders the run begins and ends.
unsigned alignment_of(const Run& run) {
    const std::uint64_t borders = run.start.count() | (run.start + run.length).count();
    return static_cast<unsigned>(std::countr_zero(borders));
}

// The chunk size at which the runs cost least: a small one makes many exceptions of a grain, a large one
// leaves grains that are smaller to the origin. Nothing when no run is aligned to any.
std::optional<Sectors> best_chunk(const BlockMap& map) {
    constexpr unsigned sizes = max_chunk_shift - min_chunk_shift + 1;
    std::array<std::uint64_t, sizes> cost{};  // in exceptions
    std::array<std::uint64_t, sizes> fitting{};
    for (const Run& run : map) {
        const unsigned alignment = alignment_of(run);
        for (unsigned i = 0; i < sizes; ++i) {
            const unsigned shift = min_chunk_shift + i;
            const bool fits = alignment >= shift;
            fitting[i] += fits;
            cost[i] +=
                fits ? std::min(run.length.count() >> shift, chunks_of_a_long_run) : chunks_of_a_long_run;
        }
    }
    std::optional<unsigned> best;
    for (unsigned i = 0; i < sizes; ++i)
        if (fitting[i] > 0 && (!best || cost[i] <= cost[*best])) best = i;
    if (!best) return std::nullopt;
    return Sectors(std::uint64_t{1} << (min_chunk_shift + *best));
}

// The shortest power of two, in sectors, that not too many runs reach.
Sectors shortest_direct_run(const BlockMap& map, Sectors chunk) {
    std::array<std::size_t, 64> runs{};  // by log2 of their lengths
    for (const Run& run : map) ++runs[static_cast<std::size_t>(std::bit_width(run.length.count()) - 1)];
    const auto lowest = static_cast<std::size_t>(std::bit_width(chunk.count() * chunks_of_a_long_run) - 1);
    std::size_t shift = runs.size() - 1;
    for (std::size_t count = runs[shift]; shift > lowest && count + runs[shift - 1] <= max_direct_runs;)
        count += runs[--shift];
    return Sectors(std::uint64_t{1} << shift);
}

// Whether `next`, `distance` sectors further on, is what a line of `first` would show there.
bool continues(const Target& first, Sectors distance, const Target& next) {
    const auto* linear = std::get_if<LinearTarget>(&first);
    if (linear == nullptr) return first.index() == next.index();
    const auto* after = std::get_if<LinearTarget>(&next);
    return after != nullptr && linear->device == after->device && linear->offset + distance == after->offset;
}

bool shows_nothing(const Target& target) { return !std::holds_alternative<LinearTarget>(target); }

// Lines of the origin. Between them, where exceptions hide it, it shows what makes the fewest lines.
class Origin {
  public:
    bool is_continued_by(Sectors start, const Target& target) const {
        return !lines_.empty() && continues(lines_.back().target, start - lines_.back().start, target);
    }

    void add(Sectors start, Sectors length, const Target& target) {
        if (is_continued_by(start, target)) {
            lines_.back().length = start + length - lines_.back().start;
            return;
        }
        if (start > end()) {
            if (!lines_.empty() && shows_nothing(lines_.back().target)) {
                lines_.back().length = start - lines_.back().start;
            } else if (shows_nothing(target)) {
                length += start - end();
                start = end();
            } else {
                lines_.push_back({end(), start - end(), ZeroTarget{}});
            }
        }
        lines_.push_back({start, length, target});
    }

    std::vector<TableLine> finish(Sectors capacity) && {
        if (end() < capacity) add(capacity, Sectors(0), ZeroTarget{});
        if (lines_.back().length == Sectors(0)) lines_.pop_back();
        return std::move(lines_);
    }

  private:
    Sectors end() const { return lines_.empty() ? Sectors(0) : lines_.back().start + lines_.back().length; }

    std::vector<TableLine> lines_;
};

// The COW device after the store. A file lies there once for each remainder that its grains' positions leave
// when divided by the chunk, shifted so that they come to lie on chunk borders.
class Data {
  public:
    Data(const BlockMap& map, Sectors chunk)
        : map_(map), chunk_(chunk), last_remainder_(map.files().size()) {}

    // The chunk at which the run's data begin.
    std::uint64_t chunk_of(const Content& content) {
        if (const auto* stored = std::get_if<Stored>(&content)) {
            const std::uint64_t remainder = stored->sector.count() % chunk_.count();
            Place& last = last_remainder_[stored->file];
            if (!last.known || last.remainder != remainder) last = place_of(stored->file, remainder);
            return last.first_chunk + stored->sector.count() / chunk_.count();
        }
        std::optional<std::uint64_t>& place = std::holds_alternative<Zero>(content) ? zeros_ : errors_;
        if (!place) place = append(chunks_of_a_long_run, target_for(content));
        return *place;
    }

    std::vector<TableLine> finish() && { return std::move(lines_); }

  private:
    struct Place {
        bool known = false;
        std::uint64_t remainder = 0;
        std::uint64_t first_chunk = 0;
    };

    Place place_of(FileIndex file, std::uint64_t remainder) {
        const auto [known, is_new] = places_.try_emplace({file, remainder});
        if (is_new) {
            const Sectors size = whole_sectors(map_.files()[file].file->size());
            const std::uint64_t chunks = (size.count() - remainder) / chunk_.count();
            known->second = {true, remainder,
                             append(chunks, LinearTarget{PlannedDevice{file}, Sectors(remainder)})};
        }
        return known->second;
    }

    std::uint64_t append(std::uint64_t chunks, const Target& target) {
        const Sectors length(checked_multiply(chunks, chunk_.count()));
        lines_.push_back({end_, length, target});
        end_ += length;
        return (end_ - length).count() / chunk_.count();
    }

    const BlockMap& map_;
    Sectors chunk_;
    Sectors end_;
    std::vector<TableLine> lines_;
    std::map<std::pair<FileIndex, std::uint64_t>, Place> places_;
    std::vector<Place> last_remainder_;  // by file: the place that was asked for last
    std::optional<std::uint64_t> zeros_;
    std::optional<std::uint64_t> errors_;
};

// Deals the runs out to origin and exceptions.
class Layout {
  public:
    Layout(const BlockMap& map, Sectors chunk)
        : map_(map), chunk_(chunk), direct_from_(shortest_direct_run(map, chunk)), data_(map, chunk) {}

    ExceptionLayout arrange() && {
        for (std::size_t i = 0; i < map_.size(); ++i) {
            const Run run = map_[i];
            if (run.length >= direct_from_)
                direct_.push_back({run.start, run.length, target_for(run.content)});
            else if (belongs_to_origin(i, run))
                origin_.add(run.start, run.length, target_for(run.content));
            else
                except(run);
        }
        // The kernel keeps its lists ascending and looks for the place of each from the front: this way every
        // one is found at once.
        std::reverse(exceptions_.begin(), exceptions_.end());
        return {chunk_, std::move(direct_), std::move(origin_).finish(map_.capacity()),
                std::move(exceptions_), std::move(data_).finish()};
    }

  private:
    std::uint64_t chunks_of(const Run& run) const { return run.length.count() / chunk_.count(); }

    bool fits(const Run& run) const {
        const Sectors end = run.start + run.length;
        return run.start.count() % chunk_.count() == 0 && end.count() % chunk_.count() == 0;
    }

    // Rather long runs, and what makes no line more. A snapshot's base goes on between the grains of its
    // child, and the unallocated stretches of a disk are all alike.
    bool belongs_to_origin(std::size_t index, const Run& run) const {
        if (!fits(run) || chunks_of(run) >= chunks_of_a_long_run) return true;
        const Target target = target_for(run.content);
        if (origin_.is_continued_by(run.start, target)) return true;
        if (index + 1 < map_.size() && goes_on_at(index + 1)) return false;
        if (index + 2 >= map_.size()) return false;
        const Run later = map_[index + 2];
        return continues(target, later.start - run.start, target_for(later.content));
    }

    bool goes_on_at(std::size_t index) const {
        const Run run = map_[index];
        return origin_.is_continued_by(run.start, target_for(run.content));
    }

    void except(const Run& run) {
        const std::uint64_t old_chunk = run.start.count() / chunk_.count();
        const std::uint64_t new_chunk = data_.chunk_of(run.content);
        for (std::uint64_t i = 0; i < chunks_of(run); ++i)
            exceptions_.push_back({old_chunk + i, new_chunk + i});
    }

    const BlockMap& map_;
    Sectors chunk_;
    Sectors direct_from_;
    std::vector<TableLine> direct_;
    Origin origin_;
    Data data_;
    std::vector<Exception> exceptions_;
};

}  // namespace

Target target_for(const Content& content) {
    struct Choose {
        Target operator()(const Stored& stored) const {
            return LinearTarget{PlannedDevice{stored.file}, stored.sector};
        }
        Target operator()(const Zero&) const { return ZeroTarget{}; }
        Target operator()(const Unreadable&) const { return ErrorTarget{}; }
        Target operator()(const Compressed&) const {
            throw Error(ErrorKind::refused,
                        "it holds compressed grains, which cannot be mapped where they are");
        }
    };
    return std::visit(Choose{}, content);
}

std::optional<ExceptionLayout> lay_out_exceptions(const BlockMap& map) {
    const std::optional<Sectors> chunk = best_chunk(map);
    if (!chunk) return std::nullopt;
    return Layout(map, *chunk).arrange();
}

}  // namespace vmdkdm
