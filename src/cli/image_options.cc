#include "cli/image_options.h"

#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

// What the user says, else what the image says of itself, else 512.
std::uint32_t sector_size_for(OpenImage& opened, std::uint32_t wanted) {
    std::uint32_t size = wanted;
    if (size == 0) {
        const std::string declared = opened.image.descriptor.ddb.get("logicalSectorSize").value_or("");
        if (declared == "512" || declared == "4096")
            size = declared == "512" ? 512 : 4096;
        else if (!declared.empty())
            opened.notes.push_back(
                concat("ddb.logicalSectorSize = \"", declared, "\" is not understood (see --sector-size)"));
    }
    const std::uint32_t by_gpt = sector_size_by_gpt(opened.map, size == 0 ? 512 : size);
    if (size != 0 && by_gpt != size)
        opened.notes.push_back(concat("the disk's GPT has sectors of ", by_gpt, " bytes, so with ", size,
                                      " no partitions will be found (see --sector-size)"));
    return size == 0 ? by_gpt : size;
}

}  // namespace

void add_image_options(CLI::App& command, ImageOptions& options) {
    command.add_option("IMAGE", options.image, "The image: its descriptor, such as web.vmdk")->required();
    command
        .add_option("--allow-path", options.open.allow_paths,
                    "Extent files may lie below DIR too, besides the image's own directory (repeatable)")
        ->type_name("DIR")
        ->expected(1)
        ->take_all();
    command.add_flag("--allow-devices", options.open.allow_devices, "Extents may be block devices");
    command.add_flag(
        "--allow-short", options.read.allow_short,
        "Where an extent's file ends too early, make the missing tail unreadable instead of refusing");
}

void add_plan_options(CLI::App& command, PlanShapeOptions& options) {
    command
        .add_option("--name", options.name, "Name of the device (default: the image's name without .vmdk)")
        ->type_name("NAME");
    command.add_flag("--in-place", options.in_place, "Writable: writes go straight into the image's files");
    command
        .add_option("--sector-size", options.sector_size,
                    "Logical sector of the disk, 512 or 4096 (default: what the image says)")
        ->type_name("BYTES")
        ->check(CLI::IsMember({512, 4096}).description(""));
}

OpenImage open_image(const ImageOptions& options) {
    ConfinedOpener opener(options.open);
    return with_context(concat("cannot open '", options.image, "'"), [&] {
        Image image = read_image(options.image, opener);
        std::vector<std::string> notes;
        BlockMap map = map_image(image, opener, options.read, notes);
        return OpenImage{std::move(image), std::move(map), std::move(notes)};
    });
}

Plan plan_for(OpenImage& opened, const PlanShapeOptions& options) {
    PlanOptions plan_options;
    plan_options.name = options.name.value_or(default_name(opened.image.path));
    check_name(plan_options.name);
    plan_options.id = image_id(opened.image.file->identity());
    plan_options.in_place = options.in_place;
    plan_options.logical_sector_size = sector_size_for(opened, options.sector_size);
    Plan plan = make_plan(opened.map, plan_options);
    if (plan.loop_block_size != plan.logical_sector_size)
        opened.notes.push_back(concat("the extents are not aligned to sectors of ", plan.logical_sector_size,
                                      " bytes: the device offers 512, partitions are read with ",
                                      plan.logical_sector_size));
    return plan;
}

}  // namespace vmdkdm
