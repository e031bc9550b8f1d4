// ESX sparse extents (COWD, "vmfsSparse"): format reference, section 8.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

inline constexpr Sectors cowd_header_end{4};
inline constexpr std::uint32_t cowd_entries_per_table = 4096;
inline constexpr std::size_t cowd_table_bytes = cowd_entries_per_table * 4;

/// What the header says that is of use (8.1).
struct CowdHeader {
    Sectors capacity;
    Sectors grain_size;
    Sectors directory;
    std::uint32_t directory_entries = 0;
    Sectors end;  ///< freeSector: the file is at least this long
    bool unclean_shutdown = false;
};

/// Throws Error (format) for a header that says what cannot be.
CowdHeader read_cowd_header(const File& file);

/// As many entries as the capacity needs. Throws Error (format) when they do not lie inside the file.
std::vector<std::uint32_t> read_cowd_directory(const File& file, const CowdHeader& header);

/// No grain and no table lies before this sector of the file.
Sectors cowd_data_start(const CowdHeader& header, std::size_t directory_entries);

/// Appends the runs of `size` sectors of the disk that the extent holds. Throws Error (format) for a header
/// that says what cannot be; damage further on becomes unreadable runs.
void append_cowd_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                        std::vector<std::string>& notes);

}  // namespace vmdkdm
