// The options that say which image, what may be opened for it and how it is read: alike on every command that
// takes an IMAGE.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "files/confined_opener.h"
#include "plan/plan.h"
#include "vmdk/image.h"

namespace vmdkdm {

struct ImageOptions {
    std::string image;
    OpenRules open;
    ReadRules read;
};
void add_image_options(CLI::App& command, ImageOptions& options);

/// The options that shape the plan: alike on attach and table.
struct PlanShapeOptions {
    std::optional<std::string> name;  ///< none: after the image
    bool in_place = false;
    std::uint32_t sector_size = 0;  ///< 0: what the DDB or the GPT says
};
void add_plan_options(CLI::App& command, PlanShapeOptions& options);

/// An image with its disk.
struct OpenImage {
    Image image;
    BlockMap map;
    std::vector<std::string> notes;
};
OpenImage open_image(const ImageOptions& options);

/// The plan for it. May add to its notes.
Plan plan_for(OpenImage& opened, const PlanShapeOptions& options);

}  // namespace vmdkdm
