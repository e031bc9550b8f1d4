// seSparse extents, the snapshots of VMFS6: format reference, section 9. There is no public specification;
// what does not look exactly as known is refused.
#pragma once

#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

/// Appends the runs of `size` sectors of the disk that the extent holds. Throws Error (format) for a header
/// that is not as known, and for a journal with changes that are not in the tables yet; damage further on
/// becomes unreadable runs.
void append_se_sparse_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                             std::vector<std::string>& notes);

}  // namespace vmdkdm
