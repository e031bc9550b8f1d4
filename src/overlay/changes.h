// What an overlay file changes of its disk, read from the exception store that the kernel keeps in it: one
// more Layer, to be laid over those of the image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "map/block_map.h"
#include "overlay/overlay_file.h"

namespace vmdkdm {

/// Chunks of the disk that are listed as no kernel does: one that is written anew may take what was written
/// before with it.
struct ChunkFault {
    Sectors start;
    Sectors length;
    std::string why;
};

struct Changes {
    Layer layer;                     ///< as large as the disk; what was never written is Unallocated
    Sectors chunk;                   ///< 0 when nothing was ever attached through the overlay
    bool valid = true;               ///< false: the kernel gave it up, as it could not write to the file
    std::uint64_t chunk_count = 0;   ///< of the disk's chunks that are changed
    Bytes used;                      ///< of the COW area, tables included: what the kernel's status says
    std::vector<ChunkFault> faults;  ///< in the order of the disk; neighbours with the same fault as one
};

/// The changes that were committed to `size` bytes of the file from byte `start` on: those that the kernel
/// would show if the disk were attached now. A changed chunk that lies beyond their end, among the store's
/// own tables or on one place with another one is unreadable (damage). The layer is of depth 0. Throws Error
/// (format) for what is no exception store.
Changes read_changes(const FilePtr& file, Bytes start, Bytes size, Sectors capacity,
                     std::vector<std::string>& notes);

/// The same for an overlay file.
Changes read_changes(const OverlayFile& overlay, std::vector<std::string>& notes);

}  // namespace vmdkdm
