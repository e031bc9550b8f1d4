// Extents that hold the guest's bytes as they are, or none at all: FLAT, VMFS, VMFSRAW, ZERO, and NOACCESS of
// any type (format reference, sections 3 and 10). Guest sector x of the extent is sector OFFSET + x of the
// file.
#pragma once

#include "files/file.h"
#include "map/block_map.h"
#include "vmdk/descriptor.h"

namespace vmdkdm {

/// Whether this reader reads extents of `type`.
bool is_flat(ExtentType type);

/// Appends the runs of `extent`. `file` is null for an extent without one. A file that ends before the extent
/// does is an Error (format), unless `allow_short`: then the missing tail is an unreadable run.
void append_flat_extent(Layer::Builder& layer, const ExtentDescriptor& extent, const FilePtr& file,
                        std::uint32_t depth, bool allow_short);

}  // namespace vmdkdm
