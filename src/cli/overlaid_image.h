// An image seen through an overlay, without the kernel: alike on all commands that read a disk.
#pragma once

#include <optional>
#include <string>
#include "cli/command.h"

#include "cli/image_options.h"
#include "cli/output.h"
#include "overlay/changes.h"
#include "overlay/overlay_file.h"

namespace vmdkdm {

struct OverlayToRead {
    std::optional<std::string> file;
    bool accept_touched = false;
};
/// --overlay and --accept-touched.
void add_overlay_to_read(Command& command, OverlayToRead& options, bool required = false);

/// An overlay that nobody attaches or changes while this is there.
struct OverlayOnImage {
    OverlayFile file;
    Changes changes;
};

/// What the overlay changes; the map then is that of the disk as it would be attached with the overlay. Adds
/// notes. Throws Error: it belongs to another disk (refused), is attached (busy), is damaged (format).
std::optional<OverlayOnImage> lay_over(const OverlayToRead& options, OpenImage& opened);

/// The loop device that is bound to the file; empty where there is none or this user cannot see it.
std::string loop_on(const File& file);

/// Throws Error (busy) where a loop device is bound to the overlay. Its lock says the same, where the file
/// system has locks.
void refuse_if_attached(const OverlayFile& overlay);

/// The overlay's path, or null.
Json path_or_null(const std::optional<OverlayOnImage>& overlay);

}  // namespace vmdkdm
