// The one idea of the project: every VMDK, however it is cut up, is an ordered, gapless list of runs that
// covers [0, capacity). Everything after the readers (map, tables, copy, hash, check) reads this and nothing
// else.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/units.h"
#include "files/file.h"

namespace vmdkdm {

/// Index into BlockMap::files().
using FileIndex = std::uint32_t;

/// Bytes that stand in a file as the guest sees them, from `sector` of the file.
struct Stored {
    FileIndex file = 0;
    Sectors sector;
    friend bool operator==(const Stored&, const Stored&) = default;
};

/// Zeros, because layer `depth` says so or because nothing was ever written there.
struct Zero {
    std::uint32_t depth = 0;
    friend bool operator==(const Zero&, const Zero&) = default;
};

/// Part of one compressed grain, whose header is at `sector` of the file; the run begins `skip` sectors into
/// what the grain inflates to. The compressed size stands in the grain's header, which is read when the grain
/// is.
struct Compressed {
    FileIndex file = 0;
    std::uint32_t skip = 0;
    Sectors sector;
    friend bool operator==(const Compressed&, const Compressed&) = default;
};

/// Sectors that the disk has and that cannot be read. `why` is an index into reasons().
struct Unreadable {
    std::uint32_t depth = 0;
    std::uint32_t why = 0;
    friend bool operator==(const Unreadable&, const Unreadable&) = default;
};

/// What a layer has never written: the parent says what is there, or it is zeros.
struct Unallocated {
    friend bool operator==(const Unallocated&, const Unallocated&) = default;
};

using Content = std::variant<Stored, Zero, Compressed, Unreadable>;
using LayerContent = std::variant<Stored, Zero, Compressed, Unreadable, Unallocated>;

template <class ContentType>
struct BasicRun {
    Sectors start;   ///< on the disk
    Sectors length;  ///< never 0
    ContentType content;
    friend bool operator==(const BasicRun&, const BasicRun&) = default;
};
using Run = BasicRun<Content>;

/// Where the compressed grains of a file belong, which their own headers repeat. A file holds one extent at
/// most.
struct GrainLayout {
    Sectors extent_start;  ///< on the disk
    Sectors extent_size;   ///< by the file's header; the last grain may inflate to the part inside it only
    Sectors grain_size;
};

/// A file that holds bytes of the disk, and the layer that it belongs to (0 = the image itself).
struct MappedFile {
    FilePtr file;
    std::uint32_t depth = 0;
    std::optional<GrainLayout> grains = std::nullopt;  ///< of a file with compressed grains
};

/// Why a run is unreadable, and whether that is how the image is meant to be.
struct Reason {
    enum class Kind {
        intended,  ///< the descriptor says so (NOACCESS)
        allowed,   ///< the user accepted it (--allow-short)
        damage,    ///< metadata or data that cannot be right
    };
    Kind kind = Kind::damage;
    std::string text;
    friend bool operator==(const Reason&, const Reason&) = default;
};

/// A run as a map keeps it, without its length, which is where the next one starts: a gap cannot be written
/// down. A quarter of a gigabyte for ten million of them, and the same in a layer and in a disk, so that the
/// one can become the other where it is.
class RunEntry {
  public:
    RunEntry(Sectors start, const Stored& run) : RunEntry(start, Kind::stored, run.sector, run.file, 0) {}
    RunEntry(Sectors start, const Zero& run) : RunEntry(start, Kind::zero, Sectors(0), run.depth, 0) {}
    RunEntry(Sectors start, const Compressed& run)
        : RunEntry(start, Kind::compressed, run.sector, run.file, run.skip) {}
    RunEntry(Sectors start, const Unreadable& run)
        : RunEntry(start, Kind::unreadable, Sectors(0), run.depth, run.why) {}
    RunEntry(Sectors start, const Unallocated&) : RunEntry(start, Kind::unallocated, Sectors(0), 0, 0) {}

    Sectors start() const { return start_; }

    /// Calls `visit` with what the run is: a Stored, Zero, ...
    template <class Visit>
    decltype(auto) visit(Visit&& visit) const {
        switch (static_cast<Kind>(kind_and_sector_ >> kind_shift)) {
            case Kind::stored:
                return visit(stored());
            case Kind::zero:
                return visit(Zero{where_});
            case Kind::compressed:
                return visit(Compressed{where_, skip_or_why_, sector()});
            case Kind::unreadable:
                return visit(Unreadable{where_, skip_or_why_});
            case Kind::unallocated:
                break;
        }
        return visit(Unallocated{});
    }

    bool is_stored() const { return is(Kind::stored); }
    Stored stored() const { return {where_, sector()}; }
    bool goes_on_with_zeros_of(const RunEntry& before) const {
        return is(Kind::zero) && before.is(Kind::zero) && where_ == before.where_;
    }

  private:
    enum class Kind : std::uint64_t { stored, zero, compressed, unreadable, unallocated };
    static constexpr unsigned kind_shift = 56;

    RunEntry(Sectors start, Kind kind, Sectors sector, std::uint32_t where, std::uint32_t skip_or_why)
        : start_(start),
          kind_and_sector_(static_cast<std::uint64_t>(kind) << kind_shift | sector.count()),
          where_(where),
          skip_or_why_(skip_or_why) {
        if (sector.count() >> kind_shift != 0) throw UnitOverflow();  // no file is that long
    }

    bool is(Kind kind) const { return kind_and_sector_ >> kind_shift == static_cast<std::uint64_t>(kind); }
    Sectors sector() const { return Sectors(kind_and_sector_ & ((std::uint64_t{1} << kind_shift) - 1)); }

    Sectors start_;
    std::uint64_t kind_and_sector_;
    std::uint32_t where_;  // the file, or the depth
    std::uint32_t skip_or_why_;
};
static_assert(sizeof(RunEntry) == 24);

/// Runs in blocks that stay where they are: a map grows without being moved, and is never larger than what it
/// holds.
class RunEntries {
  public:
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const RunEntry& operator[](std::size_t index) const { return blocks_[index >> shift][index & mask]; }
    RunEntry& operator[](std::size_t index) { return blocks_[index >> shift][index & mask]; }
    const RunEntry& back() const { return blocks_.back().back(); }

    void push_back(const RunEntry& entry) {
        if (size_ % small == 0) make_room();
        blocks_.back().push_back(entry);
        ++size_;
    }
    /// Drops all but the first `size`, of which there must be so many.
    void shrink_to(std::size_t size) {
        blocks_.resize((size + mask) >> shift);
        if ((size & mask) != 0)
            blocks_.back().erase(blocks_.back().begin() + static_cast<std::ptrdiff_t>(size & mask),
                                 blocks_.back().end());
        size_ = size;
    }

  private:
    static constexpr unsigned shift = 18;  // 6 MiB: three huge pages
    static constexpr std::size_t mask = (std::size_t{1} << shift) - 1;
    // Most maps are small, and their only block grows with them so far, 192 KiB.
    static constexpr std::size_t small = 8192;

    void make_room();

    std::vector<std::vector<RunEntry>> blocks_;
    std::size_t size_ = 0;
};

/// What a run is, as a layer's content or a disk's. A disk has no unallocated runs: std::logic_error.
template <class To>
To content_of(const RunEntry& entry) {
    if (entry.is_stored()) return entry.stored();  // most are
    return entry.visit([](const auto& kind) -> To {
        if constexpr (std::is_constructible_v<To, decltype(kind)>)
            return kind;
        else
            throw std::logic_error("an unallocated run of a whole disk");
    });
}

/// A layer's content as a disk's: std::logic_error for an unallocated run.
inline Content of_disk(const LayerContent& content) {
    return std::visit(
        [](const auto& kind) -> Content {
            if constexpr (std::is_constructible_v<Content, decltype(kind)>)
                return kind;
            else
                throw std::logic_error("an unallocated run of a whole disk");
        },
        content);
}

template <class ContentType>
class RunMap {
  public:
    class Builder;

    Sectors capacity() const { return capacity_; }
    std::size_t size() const { return entries_.size(); }
    BasicRun<ContentType> operator[](std::size_t index) const {
        const Sectors end = index + 1 < entries_.size() ? entries_[index + 1].start() : capacity_;
        const RunEntry& entry = entries_[index];
        return {entry.start(), end - entry.start(), content_of<ContentType>(entry)};
    }

    /// The run that holds `position`, which must be below capacity().
    std::size_t index_of(Sectors position) const {
        std::size_t first = 0;  // starts at the position or before it
        for (std::size_t after = entries_.size(); after - first > 1;) {
            const std::size_t middle = first + (after - first) / 2;
            (entries_[middle].start() <= position ? first : after) = middle;
        }
        return first;
    }

    const std::vector<MappedFile>& files() const { return files_; }
    const std::vector<Reason>& reasons() const { return reasons_; }

    /// Runs in guest order.
    class Iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = BasicRun<ContentType>;
        using difference_type = std::ptrdiff_t;
        using pointer = const value_type*;
        using reference = value_type;
        Iterator(const RunMap& map, std::size_t index) : map_(&map), index_(index) {}
        value_type operator*() const { return (*map_)[index_]; }
        Iterator& operator++() {
            ++index_;
            return *this;
        }
        friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

      private:
        const RunMap* map_;
        std::size_t index_;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size()}; }

  private:
    friend RunMap<Content> flatten(std::vector<RunMap<LayerContent>> layers);

    RunMap() = default;

    Sectors capacity_;
    RunEntries entries_;
    std::vector<MappedFile> files_;
    std::vector<Reason> reasons_;
};

/// The whole disk.
using BlockMap = RunMap<Content>;
/// One link of a chain.
using Layer = RunMap<LayerContent>;

/// Whether `next` is what `first` would be `length` sectors further on. Compressed grains are units of their
/// own.
template <class Kind>
bool goes_on(const Kind& first, Sectors length, const Kind& next) {
    if constexpr (std::is_same_v<Kind, Stored>)
        return first.file == next.file && first.sector + length == next.sector;
    else
        return !std::is_same_v<Kind, Compressed> && first == next;
}

template <class Kind>
bool continues(const Content& first, Sectors length, const Kind& next) {
    const Kind* const before = std::get_if<Kind>(&first);
    return before != nullptr && goes_on(*before, length, next);
}

/// Appends runs from sector 0 on; neighbours that continue each other become one run.
template <class ContentType>
class RunMap<ContentType>::Builder {
  public:
    /// The same file at the same depth is listed once.
    FileIndex add_file(FilePtr file, std::uint32_t depth, std::optional<GrainLayout> grains = std::nullopt) {
        const auto [known, is_new] =
            known_files_.try_emplace({file->identity(), depth}, static_cast<FileIndex>(map_.files_.size()));
        if (is_new) map_.files_.push_back({std::move(file), depth, std::nullopt});
        if (grains) map_.files_[known->second].grains = grains;
        return known->second;
    }

    std::uint32_t add_reason(const Reason& reason) {
        const auto [known, is_new] = known_reasons_.try_emplace(
            {reason.kind, reason.text}, static_cast<std::uint32_t>(map_.reasons_.size()));
        if (is_new) map_.reasons_.push_back(reason);
        return known->second;
    }

    /// A length of 0 appends nothing. Throws UnitOverflow when the disk grows past 2^64 sectors.
    template <class Kind>
    void append(Sectors length, const Kind& kind) {
        static_assert(std::is_constructible_v<ContentType, Kind>);
        if (length == Sectors(0)) return;
        const Sectors start = map_.capacity_;
        map_.capacity_ += length;
        if (!map_.entries_.empty() && is_continued_by(start, kind)) return;
        map_.entries_.push_back(RunEntry(start, kind));
    }
    void append(Sectors length, const ContentType& content) {
        std::visit([&](const auto& kind) { append(length, kind); }, content);
    }

    Sectors length() const { return map_.capacity_; }
    RunMap build() && { return std::move(map_); }

  private:
    friend RunMap<Content> flatten(std::vector<RunMap<LayerContent>> layers);

    // Whether the last run goes on with `kind` at `position`.
    template <class Kind>
    bool is_continued_by(Sectors position, const Kind& kind) const {
        const RunEntry& last = map_.entries_.back();
        const Sectors length = position - last.start();
        if constexpr (std::is_same_v<Kind, Stored>)
            return last.is_stored() && goes_on(last.stored(), length, kind);
        else
            return last.visit([&](const auto& before) {
                if constexpr (std::is_same_v<std::decay_t<decltype(before)>, Kind>)
                    return goes_on(before, length, kind);
                else
                    return false;
            });
    }

    RunMap map_;
    std::map<std::pair<FileIdentity, std::uint32_t>, FileIndex> known_files_;
    std::map<std::pair<Reason::Kind, std::string>, std::uint32_t> known_reasons_;
};

/// `run` without its first `length` sectors, which may be none.
Run without_first(const Run& run, Sectors length);

/// The layer that decides what a run is.
std::uint32_t depth_of(const BlockMap& map, const Content& content);

/// The disk that a chain of layers makes, top first: where a layer is unallocated the next one below decides,
/// and below the last there are zeros. The disk is as large as the top layer. A sole layer is not copied.
BlockMap flatten(std::vector<Layer> layers);

}  // namespace vmdkdm
