// What remains of a killed attach. Loops clear themselves and mapped devices carry a deferred removal, except
// for the instant between a device's creation and that mark: it is empty then, and stays if the process dies
// just there.
#pragma once

#include <functional>
#include <string>

#include "attach/attach_lock.h"
#include "attach/guard_process.h"
#include "kernel/kernel.h"

namespace vmdkdm {

/// Removes devices of image `id` that are empty and unused and stay so. An attach that is alive leaves that
/// state within a millisecond, but on a busy machine not always: who calls this has the AttachLock. Throws
/// Error.
void remove_debris(Kernel& kernel, const std::string& id);
/// That, and what a killed detach has left below a disk that is gone: unused devices of the image, where
/// neither its disk nor a partition is there. Throws Error.
void remove_remnants(Kernel& kernel, const std::string& id);

/// Keeps others from attaching the image, and removes debris and stale nodes when we end without having said
/// that all is well, once the kernel has undone the attach. Killing both at once (a whole cgroup) leaves at
/// worst an empty device, which the next attach of the image removes.
class AttachGuard {
  public:
    /// Waits until nobody else attaches the image. Throws Error, as AttachLock does. `also_undo` runs in the
    /// child, once the devices are gone.
    AttachGuard(Kernel& kernel, const std::string& id, const std::string& disk_name,
                const std::function<void()>& also_undo = nullptr);
    /// From here on until our end every device of the image is ours, and a death in between must remove them
    /// all: some are to stay already, others are not.
    void about_to_keep() const;

  private:
    AttachLock lock_;  // before the process, which shares it
    GuardProcess process_;
};

}  // namespace vmdkdm
