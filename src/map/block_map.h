// The one idea of the project: every VMDK, however it is cut up, is an ordered, gapless list of runs that
// covers [0, capacity). Everything after the readers (map, tables, copy, hash, check) reads this and nothing
// else.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <string>
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

/// One compressed grain: `bytes` of zlib data, whose grain header is at `sector` of the file.
struct Compressed {
    FileIndex file = 0;
    std::uint32_t bytes = 0;
    Sectors sector;
    friend bool operator==(const Compressed&, const Compressed&) = default;
};

/// Sectors that the disk has and that cannot be read. `why` is an index into BlockMap::reasons().
struct Unreadable {
    std::uint32_t depth = 0;
    std::uint32_t why = 0;
    friend bool operator==(const Unreadable&, const Unreadable&) = default;
};

using Content = std::variant<Stored, Zero, Compressed, Unreadable>;

struct Run {
    Sectors start;   ///< on the disk
    Sectors length;  ///< never 0
    Content content;
    friend bool operator==(const Run&, const Run&) = default;
};

/// A file that holds bytes of the disk, and the layer that it belongs to (0 = the image itself).
struct MappedFile {
    FilePtr file;
    std::uint32_t depth = 0;
};

class BlockMap {
  public:
    class Builder;

    Sectors capacity() const { return capacity_; }
    std::size_t size() const { return entries_.size(); }
    Run operator[](std::size_t index) const {
        const Sectors end = index + 1 < entries_.size() ? entries_[index + 1].start : capacity_;
        return {entries_[index].start, end - entries_[index].start, entries_[index].content};
    }

    /// The run that holds `position`, which must be below capacity().
    std::size_t index_of(Sectors position) const;

    const std::vector<MappedFile>& files() const { return files_; }
    const std::vector<std::string>& reasons() const { return reasons_; }
    std::uint32_t depth_of(const Content& content) const;

    /// Runs in guest order.
    class Iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Run;
        using difference_type = std::ptrdiff_t;
        using pointer = const Run*;
        using reference = Run;
        Iterator(const BlockMap& map, std::size_t index) : map_(&map), index_(index) {}
        Run operator*() const { return (*map_)[index_]; }
        Iterator& operator++() {
            ++index_;
            return *this;
        }
        friend bool operator==(const Iterator& a, const Iterator& b) { return a.index_ == b.index_; }

      private:
        const BlockMap* map_;
        std::size_t index_;
    };
    Iterator begin() const { return {*this, 0}; }
    Iterator end() const { return {*this, size()}; }

  private:
    // A run's length is where the next one starts: 32 bytes a run, and a gap cannot be written down.
    struct Entry {
        Sectors start;
        Content content;
    };
    static_assert(sizeof(Content) == 24);

    BlockMap() = default;

    Sectors capacity_;
    std::vector<Entry> entries_;
    std::vector<MappedFile> files_;
    std::vector<std::string> reasons_;
};

/// Appends runs from sector 0 on; neighbours that continue each other become one run.
class BlockMap::Builder {
  public:
    /// The same file at the same depth is listed once.
    FileIndex add_file(FilePtr file, std::uint32_t depth);
    std::uint32_t add_reason(const std::string& why);

    /// A length of 0 appends nothing. Throws UnitOverflow when the disk grows past 2^64 sectors.
    void append(Sectors length, const Content& content);

    Sectors length() const { return map_.capacity_; }
    BlockMap build() && { return std::move(map_); }

  private:
    BlockMap map_;
    std::map<std::pair<FileIdentity, std::uint32_t>, FileIndex> known_files_;
    std::map<std::string, std::uint32_t> known_reasons_;
};

}  // namespace vmdkdm
