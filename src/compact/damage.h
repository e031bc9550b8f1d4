// Compressed grains that do not inflate: what cannot be seen without reading all of them.
#pragma once

#include <vector>

#include "compact/damaged_range.h"
#include "compact/progress.h"
#include "map/block_map.h"

namespace vmdkdm {

/// Reads every compressed grain that the disk shows, on all cores; what does not inflate, in disk order.
/// Throws Error (system) when a file cannot be read.
std::vector<DamagedRange> find_damage(const BlockMap& map, Progress& progress);

/// The same disk, with these ranges (of compressed grains, in disk order) unreadable: Reason::Kind::damage.
BlockMap with_damage(const BlockMap& map, const std::vector<DamagedRange>& damage);

}  // namespace vmdkdm
