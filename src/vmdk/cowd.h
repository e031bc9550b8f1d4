// ESX sparse extents (COWD, "vmfsSparse"): format reference, section 8.
#pragma once

#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

/// Appends the runs of `size` sectors of the disk that the extent holds. Throws Error (format) for a header
/// that says what cannot be; damage further on becomes unreadable runs.
void append_cowd_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                        std::vector<std::string>& notes);

}  // namespace vmdkdm
