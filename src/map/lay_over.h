// One more layer over a whole disk: what was written to an overlay, over the image that it belongs to.
#pragma once

#include "map/block_map.h"

namespace vmdkdm {

/// The disk that `top`, a layer of depth 0 and of the disk's capacity, makes of `disk`; everything of the
/// disk comes to lie one deeper.
BlockMap lay_over(const Layer& top, const BlockMap& disk);

}  // namespace vmdkdm
