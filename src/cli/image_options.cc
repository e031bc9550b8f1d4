#include "cli/image_options.h"

#include <filesystem>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "files/direct_io.h"
#include "plan/names.h"
#include "plan/spread.h"
#include "reader/confined_reader.h"

namespace vmdkdm {
namespace {

// Of what is not copied. Nothing for "auto".
std::optional<Strategy> strategy_for(const PlanShapeOptions& options) {
    if (options.in_place && (options.strategy == "exceptions" || options.strategy == "materialise"))
        throw Error(ErrorKind::usage,
                    concat("--in-place and --strategy ", options.strategy, " exclude each other"));
    if (options.strategy == "exceptions") return Strategy::exceptions;
    if (options.strategy == "auto") return std::nullopt;
    return Strategy::linear;
}

}  // namespace

void add_place_options(Command& command, ImageOptions& options) {
    command.add_argument("IMAGE", options.image, "The image: its descriptor, such as web.vmdk").required();
    add_opening_options(command, options);
}

void add_permission_options(Command& command, ImageOptions& options) {
    command.add_option("--allow-path", options.open.allow_paths, "DIR",
                       "Extent files may lie below DIR too, besides the image's own directory (repeatable)");
    command.add_option(
        "--search-dir", options.chain.search_dirs, "DIR",
        "Parents of a snapshot are looked for in DIR too, and may be opened there (repeatable)");
    command.add_flag("--allow-devices", options.open.allow_devices, "Extents may be block devices");
}

void add_opening_options(Command& command, ImageOptions& options) {
    add_permission_options(command, options);
    command.add_option("--layer", options.chain.layer, "N",
                       "An older state of a snapshot chain: 1 is the parent, 2 its parent, and so on");
}

void add_image_options(Command& command, ImageOptions& options) {
    add_place_options(command, options);
    add_reading_options(command, options);
}

void add_reading_options(Command& command, ImageOptions& options) {
    command.add_flag(
        "--allow-short", options.chain.read.allow_short,
        "Where an extent's file ends too early, make the missing tail unreadable instead of refusing");
    command.add_flag("--ignore-cid", options.chain.ignore_cid,
                     "Accept a parent that was written since the snapshot was made");
    command.add_flag("--use-redundant", options.chain.read.use_redundant,
                     "Read sparse extents through their redundant grain directories");
    command.add_flag("--allow-damaged", options.allow_damaged,
                     "Where the image is damaged, make that part unreadable instead of refusing");
}

void add_plan_options(Command& command, PlanShapeOptions& options) {
    command.add_option("--name", options.name, "NAME",
                       "Name of the device (default: the image's name without .vmdk)");
    command.add_flag("--in-place", options.in_place, "Writable: writes go straight into the image's files");
    command
        .add_option(
            "--strategy", options.strategy, "STRATEGY",
            "How to show the disk: auto, linear (a line for each run), exceptions (of a snapshot, one for "
            "each grain) or materialise (a copy)")
        .one_of({"auto", "linear", "exceptions", "materialise"});
    command
        .add_option("--sector-size", options.sector_size, "BYTES",
                    "Logical sector of the disk, 512 or 4096 (default: what the image says)")
        .one_of({512, 4096});
    command
        .add_option("--direct-io", options.direct_io, "WHEN",
                    "Direct I/O of the loop devices: auto (where the files' system has it) or off")
        .one_of({"auto", "off"});
}

OpenRules open_rules(const ImageOptions& options) {
    OpenRules rules = options.open;
    rules.allow_paths.insert(rules.allow_paths.end(), options.chain.search_dirs.begin(),
                             options.chain.search_dirs.end());
    return rules;
}

ChainRules chain_rules(const ImageOptions& options) {
    ChainRules rules = options.chain;
    for (std::string& directory : rules.search_dirs) {
        if (!std::filesystem::is_directory(directory))
            throw Error(ErrorKind::usage, concat("--search-dir '", directory, "' is not a directory"));
        // The user's directory is not the child's.
        directory = std::filesystem::absolute(directory).lexically_normal().string();
    }
    return rules;
}

OpenImage open_image(const ImageOptions& options) {
    const ChainRules rules = chain_rules(options);
    ConfinedOpener opener(open_rules(options));
    return with_context(concat("cannot open '", options.image, "'"), [&] {
        ReadDisk disk = read_disk_confined(options.image, opener, rules);
        return OpenImage{std::move(disk.chain), std::move(disk.map), std::move(disk.notes),
                         std::move(disk.files)};
    });
}

void refuse_damage(const OpenImage& opened) {
    for (const Reason& reason : opened.map.reasons())
        if (reason.kind == Reason::Kind::damage)
            throw Error(ErrorKind::format, concat("the image is damaged: ", reason.text,
                                                  " (see vmdk-dm map, and --allow-damaged)"));
}

std::uint32_t sector_size_for(OpenImage& opened, std::uint32_t wanted) {
    std::uint32_t size = wanted;
    if (size == 0) {
        const std::string declared = opened.image().descriptor.ddb.get("logicalSectorSize").value_or("");
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

Plan plan_for(OpenImage& opened, const PlanShapeOptions& options, const std::optional<OverlayPlan>& overlay) {
    PlanOptions plan_options;
    plan_options.name = options.name.value_or(default_name(opened.image().path));
    check_name(plan_options.name);
    plan_options.id = image_id(opened.image().file->identity());
    plan_options.in_place = options.in_place;
    plan_options.logical_sector_size = sector_size_for(opened, options.sector_size);
    plan_options.strategy = strategy_for(options);
    plan_options.overlay = overlay;
    if (options.spread) plan_options.loops = loops_of_a_disk;
    DirectIo direct_io;
    if (options.direct_io == "auto")
        plan_options.direct_io = [&direct_io](const File& file) { return direct_io.allows(file); };
    Plan plan = make_plan(opened.map, plan_options);
    if (options.strategy == "materialise") plan.cost.strategy = Strategy::materialise;
    if (plan.loop_block_size != plan.logical_sector_size)
        opened.notes.push_back(concat("the extents are not aligned to sectors of ", plan.logical_sector_size,
                                      " bytes: the device offers 512, partitions are read with ",
                                      plan.logical_sector_size));
    return plan;
}

}  // namespace vmdkdm
