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

// How many runs there are of each alignment and length, as log2.
class Census {
  public:
    explicit Census(const BlockMap& map) {
        for (const Run& run : map) {
            const std::uint64_t borders = run.start.count() | (run.start + run.length).count();
            ++runs_[static_cast<std::size_t>(std::countr_zero(borders))][log2_of(run.length)];
        }
    }

    // The chunk size at which the runs cost least: a small one makes many exceptions of a grain, a large one
    // leaves grains that are smaller to the origin. Nothing when no run is aligned to any.
    std::optional<Sectors> best_chunk() const {
        std::optional<Sectors> best;
        std::uint64_t best_cost = 0;
        for (unsigned shift = min_chunk_shift; shift <= max_chunk_shift; ++shift) {
            const auto [cost, fitting] = cost_of_chunk(shift);
            if (fitting == 0 || (best && cost > best_cost)) continue;
            best = Sectors(std::uint64_t{1} << shift);
            best_cost = cost;
        }
        return best;
    }

    // The shortest power of two that not too many runs reach.
    Sectors shortest_direct_run(Sectors chunk) const {
        const std::size_t lowest = log2_of(Sectors(chunk.count() * chunks_of_a_long_run));
        std::size_t shift = 63;
        for (std::size_t count = runs_of_length(shift); shift > lowest; --shift) {
            count += runs_of_length(shift - 1);
            if (count > max_direct_runs) break;
        }
        return Sectors(std::uint64_t{1} << shift);
    }

  private:
    static std::size_t log2_of(Sectors length) {
        return static_cast<std::size_t>(std::bit_width(length.count()) - 1);
    }

    // In exceptions; and how many runs can be exceptions at all.
    std::pair<std::uint64_t, std::uint64_t> cost_of_chunk(unsigned shift) const {
        std::uint64_t cost = 0;
        std::uint64_t fitting = 0;
        for (std::size_t alignment = 0; alignment < runs_.size(); ++alignment)
            for (std::size_t length = 0; length < runs_[alignment].size(); ++length) {
                const std::uint64_t count = runs_[alignment][length];
                const bool fits = alignment >= shift;
                if (fits) fitting += count;
                cost += count * (fits ? std::min((std::uint64_t{1} << length) >> shift, chunks_of_a_long_run)
                                      : chunks_of_a_long_run);
            }
        return {cost, fitting};
    }

    std::size_t runs_of_length(std::size_t shift) const {
        std::size_t count = 0;
        for (const auto& of_alignment : runs_) count += of_alignment[shift];
        return count;
    }

    std::array<std::array<std::size_t, 64>, 64> runs_{};
};

// Whether `next`, `distance` sectors further on, is what a line of `first` would show there.
bool shows_on(const Content& first, Sectors distance, const Content& next) {
    if (const auto* stored = std::get_if<Stored>(&next)) return continues(first, distance, *stored);
    return first.index() == next.index();
}

// Lines of the origin. Between them, where exceptions hide it, it shows what makes the fewest lines.
class Origin {
  public:
    bool is_continued_by(const Run& run) const {
        return last_ && shows_on(last_->content, run.start - last_->start, run.content);
    }

    void add(const Run& run) {
        if (is_continued_by(run)) {
            last_->length = run.start + run.length - last_->start;
            return;
        }
        append(run);
    }

    LongTable finish(Sectors capacity) && {
        if (end() < capacity) {
            append({capacity, Sectors(0), Zero{}});
            if (last_->length == Sectors(0)) last_.reset();
        }
        put_last();
        return std::move(lines_);
    }

  private:
    static bool shows_nothing(const Run& run) { return !std::holds_alternative<Stored>(run.content); }

    void append(Run next) {
        if (next.start > end()) {
            if (last_ && shows_nothing(*last_)) {
                last_->length = next.start - last_->start;
            } else if (shows_nothing(next)) {
                next.length += next.start - end();
                next.start = end();
            } else {
                put_last();
                lines_.add({lines_.end_of_last(), next.start - lines_.end_of_last(), ZeroTarget{}});
            }
        }
        put_last();
        last_ = next;
    }

    void put_last() {
        if (last_) lines_.add({last_->start, last_->length, target_for(last_->content)});
        last_.reset();
    }

    Sectors end() const { return last_ ? last_->start + last_->length : lines_.end_of_last(); }

    LongTable lines_;
    std::optional<Run> last_;  // which may yet grow
};

// A chunk size, of which divisions are shifts: there are six a run.
class ChunkSize {
  public:
    explicit ChunkSize(Sectors size)
        : size_(size), shift_(static_cast<unsigned>(std::countr_zero(size.count()))) {}
    Sectors size() const { return size_; }
    std::uint64_t whole(Sectors sectors) const { return sectors.count() >> shift_; }
    std::uint64_t remainder(Sectors sectors) const { return sectors.count() & (size_.count() - 1); }

  private:
    Sectors size_;
    unsigned shift_;
};

// The COW device after the store. A file lies there once for each remainder that its grains' positions leave
// when divided by the chunk, shifted so that they come to lie on chunk borders.
class Data {
  public:
    Data(const BlockMap& map, ChunkSize chunk)
        : map_(map), chunk_(chunk), last_remainder_(map.files().size()) {}

    // The chunk at which the run's data begin.
    std::uint64_t chunk_of(const Content& content) {
        if (const auto* stored = std::get_if<Stored>(&content)) {
            const std::uint64_t remainder = chunk_.remainder(stored->sector);
            Place& last = last_remainder_[stored->file];
            if (!last.known || last.remainder != remainder) last = place_of(stored->file, remainder);
            return last.first_chunk + chunk_.whole(stored->sector);
        }
        std::optional<std::uint64_t>& place = std::holds_alternative<Zero>(content) ? zeros_ : errors_;
        const Target target = target_for(content);
        if (!place) place = append(chunks_of_a_long_run, target);
        return *place;
    }

    TableLines finish() && { return std::move(lines_); }

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
            const std::uint64_t chunks = chunk_.whole(size - Sectors(remainder));
            known->second = {true, remainder,
                             append(chunks, LinearTarget{PlannedDevice{file}, Sectors(remainder)})};
        }
        return known->second;
    }

    std::uint64_t append(std::uint64_t chunks, const Target& target) {
        const Sectors length(checked_multiply(chunks, chunk_.size().count()));
        lines_.add({end_, length, target});
        end_ += length;
        return chunk_.whole(end_ - length);
    }

    const BlockMap& map_;
    ChunkSize chunk_;
    Sectors end_;
    TableLines lines_;
    std::map<std::pair<FileIndex, std::uint64_t>, Place> places_;
    std::vector<Place> last_remainder_;  // by file: the place that was asked for last
    std::optional<std::uint64_t> zeros_;
    std::optional<std::uint64_t> errors_;
};

// Deals the runs out to origin and exceptions.
class Layout {
  public:
    Layout(const BlockMap& map, ChunkSize chunk, Sectors direct_from)
        : map_(map), chunk_(chunk), direct_from_(direct_from), data_(map, chunk) {}

    ExceptionLayout arrange() && {
        exceptions_.reserve(map_.size());
        for (std::size_t i = 0; i < map_.size(); ++i) {
            const Run run = map_[i];
            if (run.length >= direct_from_)
                direct_.add({run.start, run.length, target_for(run.content)});
            else if (belongs_to_origin(i, run))
                origin_.add(run);
            else
                except(run);
        }
        return {chunk_.size(), std::move(direct_), std::move(origin_).finish(map_.capacity()),
                std::move(exceptions_), std::move(data_).finish()};
    }

  private:
    bool fits(const Run& run) const {
        return chunk_.remainder(run.start) == 0 && chunk_.remainder(run.length) == 0;
    }

    // Rather long runs, and what makes no line more. A snapshot's base goes on between the grains of its
    // child, and the unallocated stretches of a disk are all alike.
    bool belongs_to_origin(std::size_t index, const Run& run) const {
        if (!fits(run) || chunk_.whole(run.length) >= chunks_of_a_long_run) return true;
        if (origin_.is_continued_by(run)) return true;
        if (index + 1 < map_.size() && origin_.is_continued_by(map_[index + 1])) return false;
        if (index + 2 >= map_.size()) return false;
        const Run later = map_[index + 2];
        return shows_on(run.content, later.start - run.start, later.content);
    }

    void except(const Run& run) {
        exceptions_.add({chunk_.whole(run.start), data_.chunk_of(run.content)}, chunk_.whole(run.length));
    }

    const BlockMap& map_;
    ChunkSize chunk_;
    Sectors direct_from_;
    TableLines direct_;
    Origin origin_;
    Data data_;
    ExceptionList exceptions_;
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
    const Census census(map);
    const std::optional<Sectors> chunk = census.best_chunk();
    if (!chunk) return std::nullopt;
    return Layout(map, ChunkSize(*chunk), census.shortest_direct_run(*chunk)).arrange();
}

}  // namespace vmdkdm
