// How full a snapshot is, as the kernel says it in the status of its target.
// Source: Linux, drivers/md/dm-snap.c, snapshot_status().
#pragma once

#include <string_view>

#include "base/units.h"

namespace vmdkdm {

enum class SnapshotState {
    usable,
    overflowed,  ///< of a target with Persistence::overflow: it can be read, but no longer be written
    invalid,     ///< nothing can be read or written any more
};

struct SnapshotStatus {
    SnapshotState state = SnapshotState::usable;
    Sectors used;   ///< of the COW device, metadata included; 0 unless usable: the kernel does not say then
    Sectors total;  ///< of the COW device; 0 unless usable
};

/// "2048/8192 16", "Overflow", "Invalid", "Merge failed". Throws Error (format) for anything else.
SnapshotStatus parse_snapshot_status(std::string_view text);

}  // namespace vmdkdm
