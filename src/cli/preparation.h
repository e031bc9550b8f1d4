// What attach, mount and filesystems do to an opened image before there is a device: copy what cannot be
// mapped where it lies, and choose a plan that can be carried out on this machine.
#pragma once

#include <optional>
#include <string>
#include "cli/command.h"

#include "attach/attach.h"
#include "cli/image_options.h"
#include "cli/materialise.h"
#include "plan/plan.h"

namespace vmdkdm {

/// Where what is made for an image is put, and how the user is told of it.
struct PreparationOptions {
    std::string run_dir = default_run_dir;
    std::optional<std::string> cache_dir;
    std::optional<std::string> cache_limit;
    std::string progress = "auto";
};
/// --run-dir, --cache-dir, --cache-limit and --progress.
void add_preparation_options(Command& command, PreparationOptions& options);

/// Inflates or copies into the cache what must be; adds a note when something was written.
std::optional<CopyStep> copy_first(const PreparationOptions& options, const PlanShapeOptions& shape,
                                   const MaterialiseOptions& materialise_options, OpenImage& opened);

/// The plan; line by line, with a note, where there is no place for the store that would be cheaper. `opened`
/// gives its map up for it.
Plan feasible_plan(const PreparationOptions& options, const PlanShapeOptions& shape,
                   const std::optional<OverlayPlan>& overlay, OpenImage& opened);

}  // namespace vmdkdm
