// seSparse extents, the snapshots of VMFS6: format reference, section 9. There is no public specification;
// what does not look exactly as known is refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "map/block_map.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {

inline constexpr Sectors se_sparse_grain{8};
inline constexpr std::uint64_t se_sparse_table_sectors = 64;
inline constexpr std::size_t se_sparse_table_bytes = se_sparse_table_sectors * sector_size;
inline constexpr std::size_t se_sparse_entries_per_table = se_sparse_table_bytes / 8;

/// What the constant header says that is of use (9.1).
struct SeSparseHeader {
    Sectors capacity;
    Sectors volatile_header;
    Sectors directory;
    Sectors directory_size;
    Sectors tables;
    Sectors tables_size;
    Sectors grains;
    Sectors grains_size;
};

/// Throws Error (format) for a header that is not as known.
SeSparseHeader read_se_sparse_header(const File& file);

/// Throws Error (format) when the volatile header (9.2) is not as known, or says that the journal holds what
/// the tables do not.
void refuse_dirty_se_sparse_journal(const File& file, const SeSparseHeader& header);

/// As many entries as the capacity needs. Throws Error (format) when they do not lie inside the file.
std::vector<std::uint64_t> read_se_sparse_directory(const File& file, const SeSparseHeader& header);

/// Where the table of a directory entry (9.3) lies; nothing when the entry is damaged.
TableOffset se_sparse_table_offset(const File& file, const SeSparseHeader& header, std::uint64_t entry);

/// An entry of a table (9.4).
struct SeSparseEntry {
    enum class Kind { unallocated, unmapped, zero, stored, damaged };
    Kind kind = Kind::damaged;
    std::uint64_t number = 0;  ///< of the grain in the file; of an unmapped one where it was
};
SeSparseEntry decode_se_sparse_entry(std::uint64_t entry);

/// Appends the runs of `size` sectors of the disk that the extent holds. Throws Error (format) for a header
/// that is not as known, and for a journal with changes that are not in the tables yet; damage further on
/// becomes unreadable runs.
void append_se_sparse_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                             std::vector<std::string>& notes);

}  // namespace vmdkdm
