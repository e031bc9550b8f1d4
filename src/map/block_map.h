// The one idea of the project: every VMDK, however it is cut up, is an ordered, gapless list of runs that
// covers [0, capacity). Everything after the readers (map, tables, copy, hash, check) reads this and nothing
// else.
#pragma once

#include <algorithm>
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

struct RunEntry {
    template <class Kind>
    RunEntry(Sectors start_, const Kind& kind) : start(start_), content(kind) {}

    Sectors start;
    LayerContent content;
};
static_assert(sizeof(RunEntry) == 32);

/// A layer's content as a disk's and the other way round. A disk has no unallocated runs: std::logic_error.
template <class To, class From>
To content_as(const From& content) {
    if constexpr (std::is_same_v<To, From>) {
        return content;
    } else {
        if (const auto* stored = std::get_if<Stored>(&content)) return *stored;  // most are
        return std::visit(
            [](const auto& kind) -> To {
                if constexpr (std::is_constructible_v<To, decltype(kind)>)
                    return kind;
                else
                    throw std::logic_error("an unallocated run of a whole disk");
            },
            content);
    }
}

template <class ContentType>
class RunMap {
  public:
    class Builder;

    Sectors capacity() const { return capacity_; }
    std::size_t size() const { return entries_.size(); }
    BasicRun<ContentType> operator[](std::size_t index) const {
        const Sectors end = index + 1 < entries_.size() ? entries_[index + 1].start : capacity_;
        return {entries_[index].start, end - entries_[index].start,
                content_as<ContentType>(entries_[index].content)};
    }

    /// The run that holds `position`, which must be below capacity().
    std::size_t index_of(Sectors position) const {
        const auto after = std::upper_bound(entries_.begin(), entries_.end(), position,
                                            [](Sectors at, const Entry& entry) { return at < entry.start; });
        return static_cast<std::size_t>(after - entries_.begin()) - 1;
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

    // A run's length is where the next one starts: 32 bytes a run, and a gap cannot be written down. The same
    // in a layer and in a disk, so that the one can become the other where it is.
    using Entry = RunEntry;

    RunMap() = default;

    Sectors capacity_;
    std::vector<Entry> entries_;
    std::vector<MappedFile> files_;
    std::vector<Reason> reasons_;
};

/// The whole disk.
using BlockMap = RunMap<Content>;
/// One link of a chain.
using Layer = RunMap<LayerContent>;

/// Whether `next` is what `first` would be `length` sectors further on. Compressed grains are units of their
/// own.
template <class ContentType, class Kind>
bool continues(const ContentType& first, Sectors length, const Kind& next) {
    const Kind* const before = std::get_if<Kind>(&first);
    if (before == nullptr) return false;
    if constexpr (std::is_same_v<Kind, Stored>)
        return before->file == next.file && before->sector + length == next.sector;
    else
        return !std::is_same_v<Kind, Compressed> && *before == next;
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

    /// Makes room for so many more runs at once. Memory that no run comes to fill is never touched.
    void expect(std::size_t runs) {
        const std::size_t wanted = map_.entries_.size() + runs;
        if (wanted > map_.entries_.capacity())
            map_.entries_.reserve(std::max(wanted, 2 * map_.entries_.capacity()));
    }

    /// A length of 0 appends nothing. Throws UnitOverflow when the disk grows past 2^64 sectors.
    template <class Kind>
    void append(Sectors length, const Kind& kind) {
        static_assert(std::is_constructible_v<ContentType, Kind>);
        if (length == Sectors(0)) return;
        const Sectors start = map_.capacity_;
        map_.capacity_ += length;
        if (!map_.entries_.empty()) {
            const Entry& last = map_.entries_.back();
            if (continues(last.content, start - last.start, kind)) return;
        }
        map_.entries_.emplace_back(start, kind);
    }
    void append(Sectors length, const ContentType& content) {
        std::visit([&](const auto& kind) { append(length, kind); }, content);
    }

    Sectors length() const { return map_.capacity_; }
    RunMap build() && { return std::move(map_); }

  private:
    friend RunMap<Content> flatten(std::vector<RunMap<LayerContent>> layers);

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
