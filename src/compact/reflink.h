// Sharing blocks with the source instead of copying them, where the file system can (FICLONERANGE).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "compact/copy.h"
#include "compact/source_file.h"
#include "map/block_map.h"

namespace vmdkdm {

/// Shares what it can of the stored runs with the target, and marks the files for which that worked. The size
/// of the blocks that it shares, see first_piece. `pause` is called now and then, and may throw.
std::uint64_t share_stored_runs(const BlockMap& map, const CopyTarget& target,
                                std::vector<SourceFile>& sources, const std::function<void()>& pause);

}  // namespace vmdkdm
