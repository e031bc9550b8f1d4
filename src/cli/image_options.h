// The options that say which image, what may be opened for it and how it is read: alike on every command that
// takes an IMAGE.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>
#include "cli/command.h"

#include "files/confined_opener.h"
#include "plan/plan.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

struct ImageOptions {
    std::string image;
    OpenRules open;
    ChainRules chain;
    bool allow_damaged = false;  ///< damaged runs become unreadable instead of refusing
};
/// Where an image's files may lie.
void add_permission_options(Command& command, ImageOptions& options);

/// Those, and which layer of it.
void add_opening_options(Command& command, ImageOptions& options);

/// How it is read.
void add_reading_options(Command& command, ImageOptions& options);

/// Which image, where its files may lie, and which layer of it.
void add_place_options(Command& command, ImageOptions& options);

/// Those, and how it is read.
void add_image_options(Command& command, ImageOptions& options);

/// The options that shape the plan: alike on attach and table.
struct PlanShapeOptions {
    std::optional<std::string> name;  ///< none: after the image
    bool in_place = false;
    std::string strategy = "auto";
    std::uint32_t sector_size = 0;   ///< 0: what the DDB or the GPT says
    bool spread = true;              ///< a large file on several loop devices
    std::string direct_io = "auto";  ///< or "off": of the loop devices
};
void add_plan_options(Command& command, PlanShapeOptions& options);

/// An image with its disk.
struct OpenImage {
    ImageChain chain;
    BlockMap map;
    std::vector<std::string> notes;
    /// Every file of the chain, once: descriptors, then extents, also those of which the disk shows nothing.
    std::vector<FilePtr> files;
    /// The image that is attached: the chosen layer.
    const Image& image() const { return chain.images.front(); }
};
OpenImage open_image(const ImageOptions& options);

/// What may be opened for the image: --search-dir permits as --allow-path does.
OpenRules open_rules(const ImageOptions& options);

/// The rules for the chain, with absolute directories. Throws Error (usage) for a --search-dir that is none.
ChainRules chain_rules(const ImageOptions& options);

/// Throws Error (format) when a part of the disk cannot be read because the image is damaged.
void refuse_damage(const OpenImage& opened);

/// What the user says, else what the image says of itself, else 512. May add to its notes.
std::uint32_t sector_size_for(OpenImage& opened, std::uint32_t wanted);

/// The plan for it. May add to its notes.
Plan plan_for(OpenImage& opened, const PlanShapeOptions& options,
              const std::optional<OverlayPlan>& overlay = std::nullopt);

}  // namespace vmdkdm
