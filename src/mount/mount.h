// Attaches images, brings up what the wanted volumes lie on, and mounts them: all or nothing. The kernel is
// the only record: every device made here goes with its last user, so that any umount, by whomever, undoes
// everything.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attach/attach.h"
#include "kernel/kernel.h"
#include "mount/guard.h"
#include "mount/options.h"
#include "plan/plan.h"
#include "stack/keys.h"

namespace vmdkdm {

/// A disk that is to be attached, or is already.
struct ImageToMount {
    std::string as_given;                     ///< for messages
    std::string id;                           ///< as in Plan
    std::optional<Plan> plan;                 ///< none: it is attached already
    std::uint32_t logical_sector_size = 512;  ///< how its partition table counts
    AttachOptions attach;
    bool on_overlay = false;  ///< what is written lands beside the image: journals may be replayed
};

struct MountRequest {
    std::size_t image = 0;  ///< which of the images
    std::string volume;     ///< as in MountSource
    std::string directory;  ///< as the user wrote it
};

struct MountOptions {
    MountWishes wishes;
    std::optional<std::string> type;  ///< driver, instead of the one for what libblkid finds
    Keys keys;                        ///< of encrypted volumes
};

struct MountedFileSystem {
    std::string volume;  ///< "web.vmdk:2", as it could be asked for
    std::string device;  ///< "/dev/mapper/web2"
    std::string type;    ///< in libblkid's words
    std::string driver;  ///< that it was mounted with
    std::string options;
    std::string directory;  ///< absolute, without symlinks
    std::string unclean;    ///< why it is known to have been in use; empty: it is not known
};

/// Throws Error (usage, not_found, busy) for mount points that cannot be, before anything is done.
void check_directories(const std::vector<MountRequest>& requests, Kernel& kernel);

/// Mounts in the order of `requests`. Throws Error; nothing is attached or mounted then that was not before.
/// Notes for the user are added to `notes`.
std::vector<MountedFileSystem> mount_file_systems(const std::vector<ImageToMount>& images,
                                                  const std::vector<MountRequest>& requests,
                                                  const MountOptions& options, const MountGuard& guard,
                                                  Kernel& kernel, std::vector<std::string>& notes);

}  // namespace vmdkdm
