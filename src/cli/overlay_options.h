// Where what is written to a disk goes, instead of into the image: alike on attach and table.
#pragma once

#include <optional>
#include <string>
#include "cli/command.h"

#include "cli/image_options.h"
#include "overlay/overlay_file.h"
#include "plan/plan.h"

namespace vmdkdm {

struct OverlayOptions {
    std::optional<std::string> file;     ///< --overlay
    std::optional<std::string> size;     ///< --overlay-size
    std::optional<std::string> scratch;  ///< --scratch: a size, or "true"
    bool accept_touched = false;
};
/// On a command that has the options that shape a plan.
void add_overlay_options(Command& command, OverlayOptions& options);

/// The overlay that the user asks for, whole and locked. A file that was made for it goes again with this
/// object unless it is kept.
class ChosenOverlay {
  public:
    /// The overlay's file, made when there is none yet; or memory. To be called before anything of the disk
    /// is materialised. Throws Error: it belongs to another disk, is in use, is damaged, ...
    static std::optional<ChosenOverlay> open(const OverlayOptions& options, OpenImage& opened);
    /// The same for showing only: nothing is made, changed or locked.
    static std::optional<ChosenOverlay> foresee(const OverlayOptions& options, OpenImage& opened);

    ChosenOverlay(ChosenOverlay&& other) noexcept
        : plan_(std::move(other.plan_)), made_(std::exchange(other.made_, std::nullopt)) {}
    ChosenOverlay& operator=(ChosenOverlay&&) = delete;
    ~ChosenOverlay() { remove_made(); }

    const OverlayPlan& plan() const { return plan_; }
    /// A file that was made just now stays.
    void keep() noexcept { made_.reset(); }
    /// Removes the file if it was made just now.
    void remove_made() const noexcept {
        if (made_) made_->remove_name();
    }

  private:
    explicit ChosenOverlay(OverlayPlan plan, std::optional<OverlayFile> made = std::nullopt)
        : plan_(std::move(plan)), made_(std::move(made)) {}

    OverlayPlan plan_;
    std::optional<OverlayFile> made_;
};

}  // namespace vmdkdm
