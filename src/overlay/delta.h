// The changes of an overlay as a snapshot delta (VMDK) of the image that it belongs to.
#pragma once

#include <string>
#include <vector>

#include "compact/copy.h"
#include "compact/output_file.h"
#include "compact/progress.h"
#include "map/block_map.h"
#include "vmdk/delta_writer.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

/// The grains that hold a change, whole or in part.
std::vector<GrainRange> changed_grains(const Layer& changes);

/// The disk with nothing but these grains; the rest is zeros.
BlockMap only_grains(const BlockMap& disk, const std::vector<GrainRange>& grains);

/// What the delta at `path` (absolute) says of itself: a new CID, the image as its parent, the hardware of
/// the chain.
DeltaDescriptor describe_delta(const ImageChain& chain, Sectors capacity, const std::string& path);

/// Writes it all to `output`, which is as long as the extent and holds nothing: `disk` is the image with the
/// changes, whose grains are those of the extent. Throws Error.
CopyResult write_delta(const DeltaExtent& extent, const DeltaDescriptor& descriptor, const BlockMap& disk,
                       const std::vector<GrainRange>& grains, const OutputFile& output,
                       const CopyOptions& options, Progress& progress);

}  // namespace vmdkdm
