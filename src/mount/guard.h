// What remains of a killed mount: devices go by themselves, file systems that were mounted already do not.
#pragma once

#include "attach/guard_process.h"
#include "base/units.h"
#include "dm/table.h"

namespace vmdkdm {

/// Unmounts what was mounted from certain devices while we lived, when we end without having said that all is
/// well.
class MountGuard {
  public:
    MountGuard();
    /// Before a file system on this device is mounted.
    void about_to_mount(DeviceNumber device) const;

  private:
    GuardProcess process_;
};

}  // namespace vmdkdm
