// Reading bytes of the disk through its BlockMap, in user space: for a look at a few sectors (is there a
// GPT?) before any device exists.
#pragma once

#include <cstddef>
#include <span>

#include "map/block_map.h"

namespace vmdkdm {

/// Fills `out` with the disk's bytes from `offset`. Throws Error (format) past the end of the disk, on an
/// unreadable run and on a compressed one.
void read_disk(const BlockMap& map, Bytes offset, std::span<std::byte> out);

}  // namespace vmdkdm
