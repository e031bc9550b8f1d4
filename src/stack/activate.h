// Brings up what lies on attached disks: LVM, LUKS and BitLocker, MD arrays, each as far as it can be without
// writing; and takes it down again.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"
#include "stack/keys.h"
#include "stack/volume.h"

namespace vmdkdm {

struct ActivateOptions {
    Keys keys;
    bool skip_locked = false;  ///< containers without a key stay closed instead of refusing all
    bool skip_arrays = false;  ///< MD arrays are not assembled: nothing removes one when we are killed
    std::optional<std::string> vg_name;  ///< activate a copy of the VG through lvm, under this name
};

/// A device that activate made.
struct MadeVolume {
    VolumeKind kind = VolumeKind::logical_volume;
    std::string name;  ///< as Volume's
    std::string path;
    DeviceNumber device;
};

/// What an activate has made. It goes when its owner goes, newest first, unless it is kept.
class Activation {
  public:
    class Impl;
    explicit Activation(std::unique_ptr<Impl> impl);
    Activation(Activation&&) noexcept;
    Activation& operator=(Activation&&) = delete;
    ~Activation();

    const std::vector<MadeVolume>& made() const;
    /// It stays, until deactivate(). Throws Error.
    void keep();
    /// Each device goes with its last user: for those who have mounted something on it. MD arrays and what
    /// lvm itself activated know no such thing: they stay as after keep().
    void leave_to_users();

  private:
    std::unique_ptr<Impl> impl_;
};

/// Brings up everything on these disks that is not up yet; a VG or an array may span several of them.
/// Throws Error (refused: no key, a wrong one, the same PV twice; busy: a name is taken; not_found: no such
/// tool); then all that was made has been removed. Notes for the user are added to `notes`.
Activation activate(const std::vector<AttachedDisk>& disks, const ActivateOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes);

/// Takes down what activate made on the disk, from the top. Throws Error (busy) that names who uses it;
/// nothing has been removed then. Returns the paths of what was removed.
std::vector<std::string> deactivate(const AttachedDisk& disk, Kernel& kernel,
                                    std::vector<std::string>& notes);

}  // namespace vmdkdm
