// What an overlay file changes of its disk, read from the exception store that the kernel keeps in it: one
// more Layer, to be laid over those of the image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "map/block_map.h"
#include "overlay/overlay_file.h"

namespace vmdkdm {

struct Changes {
    Layer layer;                    ///< as large as the disk; what was never written is Unallocated
    Sectors chunk;                  ///< 0 when nothing was ever attached through the overlay
    bool valid = true;              ///< false: the kernel gave it up, as it could not write to the file
    std::uint64_t chunk_count = 0;  ///< of the disk's chunks that are changed
    Bytes used;                     ///< of the COW area, tables included: what the kernel's status says
};

/// The changes that were committed to `size` bytes of the file from byte `start` on: those that the kernel
/// would show if the disk were attached now. A changed chunk that lies beyond their end or among the store's
/// own tables is unreadable (damage). The layer is of depth 0. Throws Error (format) for what is no exception
/// store.
Changes read_changes(const FilePtr& file, Bytes start, Bytes size, Sectors capacity,
                     std::vector<std::string>& notes);

/// The same for an overlay file.
Changes read_changes(const OverlayFile& overlay, std::vector<std::string>& notes);

}  // namespace vmdkdm
