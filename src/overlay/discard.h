// Throwing away what was written to an overlay.
#pragma once

#include "overlay/overlay_file.h"

namespace vmdkdm {

/// The overlay, opened writable, becomes one that was never attached, of the same image, chunk and limit; the
/// file system gets the room back. A crash leaves it as it was or empty. Throws Error (system).
void discard_changes(const OverlayFile& overlay);

}  // namespace vmdkdm
