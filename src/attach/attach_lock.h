// One process at a time attaches an image. The second could take the first one's devices for debris of a
// killed attach while they have no table yet, and the guard of a killed attach could take down what a new one
// has just made.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "kernel/kernel.h"

namespace vmdkdm {

/// Held from here until the last process that has it ends, children included. Nothing stays of it: it is a
/// lock on a byte of /dev/mapper/control, another one for each image, and so is known to nobody but root and
/// to all mount namespaces.
class AttachLock {
  public:
    /// Waits for whoever has it. Throws Error: (busy) when that takes too long, (system) when we are
    /// interrupted. Where the node cannot be locked, all goes on without.
    AttachLock(Kernel& kernel, const std::string& image_id);

  private:
    UniqueFd control_;
};

}  // namespace vmdkdm
