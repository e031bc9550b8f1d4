#include "cli/overlaid_image.h"

#include "base/concat.h"
#include "base/error.h"
#include "kernel/linux_kernel.h"
#include "map/lay_over.h"

namespace vmdkdm {

void add_overlay_to_read(Command& command, OverlayToRead& options, bool required) {
    command
        .add_option("--overlay", options.file, "FILE",
                    "Show the disk with what was written to this overlay (see attach)")
        .required(required);
    command.add_flag("--accept-touched", options.accept_touched,
                     "Accept an overlay although a file of the image has another time than when it was made");
}

std::optional<OverlayOnImage> lay_over(const OverlayToRead& options, OpenImage& opened) {
    if (!options.file) {
        if (options.accept_touched) throw Error(ErrorKind::usage, "--accept-touched needs --overlay");
        return std::nullopt;
    }
    OverlayFile file = OverlayFile::open(*options.file);
    refuse_if_attached(file);
    return with_context(concat("overlay '", file.path(), "'"), [&] {
        check_belongs(file.header(), describe_for_overlay(opened.chain, opened.map), options.accept_touched,
                      opened.notes);
        Changes changes = read_changes(file, opened.notes);
        opened.map = lay_over(changes.layer, opened.map);
        return OverlayOnImage{std::move(file), std::move(changes)};
    });
}

std::string loop_on(const File& file) {
    try {
        LinuxKernel kernel(UdevUse::off);
        for (const LoopInfo& loop : kernel.list_loops())
            if (loop.backing_identity == file.identity()) return loop.node;
    } catch (const Error&) {
        // Not root: then it is not known.
    }
    return "";
}

void refuse_if_attached(const OverlayFile& overlay) {
    const std::string loop = loop_on(*overlay.file());
    if (!loop.empty())
        throw Error(ErrorKind::busy,
                    concat("the overlay '", overlay.path(), "' is attached: ", loop, " is bound to it"));
}

Json path_or_null(const std::optional<OverlayOnImage>& overlay) {
    return overlay ? Json(overlay->file.path()) : Json(nullptr);
}

}  // namespace vmdkdm
