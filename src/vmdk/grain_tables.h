// What the sparse extent kinds have in common: tables of entries, one a grain, that are read in bulk and
// turned into runs. A 2 TiB extent has 128 MiB of tables, so a table that is all zeros or one ascending
// stretch must cost no more than looking at it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

/// Where a table lies in the file, in bytes; nothing when it does not exist.
using TableOffset = std::optional<std::uint64_t>;

/// Throws Error (format): "'<file>': what".
[[noreturn]] void refuse(const File& file, const std::string& what);

/// Throws Error (format) when the extent's header has fewer sectors than its line: data would be missing. A
/// note when it has more: the line is believed, so that nothing after it shifts.
void check_capacity(const File& file, Sectors by_header, Sectors by_line, std::vector<std::string>& notes);

/// Whether `length` bytes from `start` on lie inside the file.
bool lies_inside(const File& file, Sectors start, Bytes length);

/// Throws Error (format) for a directory of more entries than any disk needs: 64 TiB of the smallest tables
/// that VMware's products write.
void check_directory_length(const File& file, std::uint64_t entries);

/// Why the grains of a table that `read_tables` did not read are unreadable.
inline constexpr const char* misplaced_table =
    "a grain table lies outside the file, or where another one does";

struct ReadTable {
    enum class Kind {
        unreadable,  ///< does not exist, does not lie inside the file or shares bytes with another
        zeros,       ///< lies in a hole of the file
        read,
    };
    Kind kind = Kind::unreadable;
    std::span<const std::byte> bytes = {};  ///< of one that was read
};

/// Calls `visit` for every table in order. A small file must not claim more grains than it has entries, nor
/// take longer than its size: of what lies in holes nothing is read, and tables that are near each other in
/// the file are read with one call.
void read_tables(const File& file, std::span<const TableOffset> tables, std::size_t table_bytes,
                 const std::function<void(std::size_t index, const ReadTable& table)>& visit);

/// A number for what each table says, equal for those that say the same; 0 for one that is unreadable.
std::vector<std::size_t> hashes_of_tables(const File& file, std::span<const TableOffset> tables,
                                          std::size_t table_bytes);

/// Turns grains, told in guest order, into runs of a layer. What reaches beyond the extent's end is dropped:
/// the last grain may be longer than the disk, and so may the tables.
class GrainRuns {
  public:
    struct Extent {
        FilePtr file;
        std::uint32_t depth = 0;
        Sectors size;  ///< of the extent, in sectors of the disk
        Sectors grain_size;
        Sectors data_start;          ///< no grain lies before this sector of the file
        bool watch_sharing = false;  ///< whether `overlapping` is wanted; sectors beyond 2^32 are not watched
        std::optional<Sectors> compressed_size =
            std::nullopt;  ///< of compressed grains: the extent's size by its header
    };

    GrainRuns(Layer::Builder& layer, const Extent& extent);

    void unallocated(std::uint64_t grains) { append(grains, Unallocated{}); }
    void zero(std::uint64_t grains) { append(grains, Zero{extent_.depth}); }
    /// Grains that follow each other in the file, the first at `sector`. Where they lie beyond the file or in
    /// its metadata they are unreadable.
    void stored(std::uint64_t sector, std::uint64_t grains);
    void compressed(std::uint64_t sector);
    void damaged(std::uint64_t grains, const std::string& why);

    /// Whether grains share sectors of the file with others.
    bool overlapping() const { return overlapping_; }

    /// Checks that the whole extent was told.
    void finish();

  private:
    void append(std::uint64_t grains, const LayerContent& content);
    void note_use(std::uint64_t sector, std::uint64_t grains);

    Layer::Builder& layer_;
    Extent extent_;
    FileIndex file_;
    Sectors left_;  // of the extent
    Sectors file_end_;
    std::vector<std::uint64_t> used_;  // one bit a grain of the file
    bool overlapping_ = false;
};

}  // namespace vmdkdm
