// A fragmented disk: long runs straight as lines of its table, what lies between them through a snapshot
// whose exceptions point at single grains in the image's own files. Nothing is copied: the COW device is the
// exception store followed by those files. Pure.
#pragma once

#include <optional>

#include "dm/table.h"
#include "map/block_map.h"
#include "plan/exception_store.h"

namespace vmdkdm {

struct ExceptionLayout {
    Sectors chunk;
    TableLines direct;         ///< the long runs; the snapshot is seen between them
    LongTable origin;          ///< covers the disk; where an exception hides it, it may say anything
    ExceptionList exceptions;  ///< new_chunk counts from the data's first
    TableLines data;           ///< the COW device after the store
};

/// Nothing when no chunk size fits any of the runs. Chunks are of at least 4 KiB.
std::optional<ExceptionLayout> lay_out_exceptions(const BlockMap& map);

/// The target of a run by itself. Throws Error (refused) for a compressed one.
Target target_for(const Content& content);

}  // namespace vmdkdm
