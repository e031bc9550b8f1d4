// Devices that lvm and mdadm make for us, hidden from udev: their events carry no flags of ours, so a rule
// knows them beforehand. It is made for them alone in /run/udev/rules.d, and nothing is made before udevd has
// shown that it follows it.
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "kernel/kernel.h"

namespace vmdkdm {

/// Why udev cannot be told here what to leave alone; empty where it can, or where nobody listens.
std::string why_not_hidden(Kernel& kernel);

/// For as long as it takes to make them; the rules stay until the devices are gone.
class HiddenDevices {
  public:
    /// Waits until no other process makes such devices. Throws Error.
    explicit HiddenDevices(Kernel& kernel);

    /// Whatever lvm makes of this volume group. Throws Error (refused: udevd does not follow the rule).
    void hide_group(const std::string& vg_uuid);
    /// Whatever array has one of these members. Throws Error, likewise.
    void hide_array(const std::vector<DeviceNumber>& members);

  private:
    void hide(const std::string& subject, const std::vector<std::string>& matches);

    Kernel& kernel_;
    UniqueFd lock_;
};

/// Removes the rules for what is not there any more, whoever made them; no HiddenDevices may be there. Never
/// throws: what stays hides nothing.
void drop_old_rules(Kernel& kernel) noexcept;

}  // namespace vmdkdm
