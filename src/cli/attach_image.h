// One attach, by the options of the command: alike for an IMAGE of the command line and an entry of vmdktab.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>
#include "cli/command.h"

#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/overlay_options.h"
#include "cli/preparation.h"
#include "cli/seal.h"
#include "kernel/signals.h"

namespace vmdkdm {

struct AttachCommandOptions {
    ImageOptions image;
    PlanShapeOptions shape;
    SealOptions seal;
    bool no_partitions = false;
    bool expose = false;
    std::optional<std::string> delimiter;
    PreparationOptions preparation;
    bool no_udev = false;
    bool json = false;
    OverlayOptions overlay;
};
/// IMAGE and every option of an attach. What vmdktab may hold is defined by this too.
void add_attach_options(Command& command, AttachCommandOptions& options);

struct AttachedImage {
    std::vector<std::string> paths;  ///< of the disk, then of its partitions
    std::vector<std::string> notes;
    Json description;
};
/// Called when everything stands. Until it returns signals wait, so that what was made is told.
using AttachReport = std::function<void(const AttachedImage&, const SignalDelay&)>;

/// Throws Error; nothing of it is then left.
void attach_image(const AttachCommandOptions& options, const AttachReport& report);

}  // namespace vmdkdm
