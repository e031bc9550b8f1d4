// Hosted sparse extents (KDMV), plain and compressed (streamOptimized): format reference, sections 6 and 7.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

/// The 512-byte header, checked: what it says is possible, though not yet whether the file holds it.
struct SparseHeader {
    std::uint32_t version = 0;
    bool redundant_tables = false;
    bool zero_grains = false;
    bool compressed = false;
    Sectors capacity;
    Sectors grain_size;         ///< a power of two, 8 to 65536
    Sectors descriptor_offset;  ///< of the embedded descriptor; 0 = none
    Sectors descriptor_size;
    std::uint32_t entries_per_table = 0;  ///< numGTEsPerGT
    Sectors redundant_directory;
    Sectors directory;  ///< from the footer, when the header says that it is at the end
    Sectors overhead;
    bool unclean_shutdown = false;
    Bytes stream_end;  ///< where the end-of-stream marker ends; 0 when the directory is not at the end
};

/// Flags, fields and places that a header and its footer must have in common.
bool describe_the_same(const SparseHeader& header, const SparseHeader& footer);

/// Whether the file begins like one.
bool is_sparse_extent(const File& file);

/// Throws Error (format) that says what is wrong with the header, or with the footer that it refers to.
SparseHeader read_sparse_header(const File& file);

/// One header, such as a footer: taken as it stands, with `directory` as it says.
SparseHeader read_sparse_header_at(const File& file, Bytes offset);

/// No grain lies before this sector of the file.
Sectors lowest_grain(const File& file, const SparseHeader& header);

/// Entries that the grain directory needs.
std::uint64_t directory_entries(const SparseHeader& header);

struct SparseRules {
    bool use_redundant = false;  ///< read the redundant grain directory, where there is one
};

/// Appends the runs of `size` sectors of the disk that the extent holds.
void append_sparse_extent(Layer::Builder& layer, const FilePtr& file, const SparseHeader& header,
                          Sectors size, std::uint32_t depth, const SparseRules& rules,
                          std::vector<std::string>& notes);

}  // namespace vmdkdm
