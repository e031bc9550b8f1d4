// vmdk-dm table: the plan, without carrying it out. Needs no root and asks nothing of the kernel.
#include <cmath>
#include <iomanip>
#include <memory>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cache_options.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/materialise.h"
#include "cli/output.h"
#include "cli/overlay_options.h"
#include "cli/printer.h"
#include "compact/damage.h"

namespace vmdkdm {
namespace {

struct TableOptions {
    ImageOptions image;
    PlanShapeOptions shape;
    bool json = false;
    bool deep = false;
    bool concise = false;
    std::optional<std::string> cache_dir;
    OverlayOptions overlay;
};

std::string_view access_of(bool read_only) { return read_only ? "ro" : "rw"; }

// A path as the shell takes it.
std::string shell_quoted(const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

// Of the file behind a loop device; nothing for an exception store.
Json backing_as_json(const LowerPlan& lower) {
    return lower.store ? Json(nullptr) : Json(lower.file->path());
}

Json cost_as_json(const Cost& cost) {
    return {{"strategy", to_string(cost.strategy)},
            {"lines", cost.lines},
            {"exceptions", cost.exceptions},
            {"seconds", std::round(cost.seconds * 1e6) / 1e6},
            {"kernelMemory", cost.kernel_memory.count()}};
}

std::string line_as_text(const TableLine& line, const DeviceNamer& namer) {
    const std::string arguments = target_arguments(line.target, namer);
    return concat(line.start.count(), " ", line.length.count(), " ", target_type(line.target),
                  arguments.empty() ? "" : " ", arguments);
}

void print_as_json(const Plan& plan, const std::optional<CopyStep>& copy) {
    const DeviceNamer namer = planned_names(plan);
    Json loops = Json::array();
    for (std::uint32_t i = 0; i < plan.lowers.size(); ++i)
        if (const LowerPlan& lower = plan.lowers[i]; lower.needs_loop())
            loops.push_back({{"device", namer(PlannedDevice{i})},
                             {"file", backing_as_json(lower)},
                             {"exceptions", lower.store ? Json(lower.store->count()) : Json(nullptr)},
                             {"readOnly", lower.read_only},
                             {"directIo", lower.direct_io},
                             {"blockSize", plan.loop_block_size},
                             {"offset", lower.offset.count()},
                             {"sizeLimit", lower.size ? Json(lower.size->count()) : Json(nullptr)}});
    Json devices = Json::array();
    for (const DevicePlan* device : plan.devices()) {
        Json lines = Json::array();
        for (const TableLine& line : device->table.lines()) lines.push_back(line_as_text(line, namer));
        devices.push_back({{"name", device->name},
                           {"uuid", device->uuid},
                           {"readOnly", device->read_only},
                           {"table", std::move(lines)}});
    }
    print_json({{"name", plan.disk.name},
                {"capacity", to_bytes(plan.disk.table.length()).count()},
                {"readOnly", plan.disk.read_only},
                {"sectorSize", plan.logical_sector_size},
                {"cost", cost_as_json(plan.cost)},
                {"alternative", plan.alternative ? cost_as_json(*plan.alternative) : Json(nullptr)},
                {"materialise", as_json(copy)},
                {"loops", loops},
                {"devices", std::move(devices)}});
}

std::string cost_as_text(const Cost& cost) {
    std::ostringstream text;
    text << to_string(cost.strategy) << ": " << counted(cost.lines, "line") << ", ";
    if (cost.exceptions > 0) text << counted(cost.exceptions, "exception") << ", ";
    text << std::fixed << std::setprecision(2) << cost.seconds << " s to load, "
         << human_size(cost.kernel_memory) << " of kernel memory";
    return text.str();
}

void print_as_text(const Plan& plan, const std::optional<CopyStep>& copy) {
    const DeviceNamer namer = planned_names(plan);
    out() << "strategy " << cost_as_text(plan.cost) << "\n";
    if (plan.alternative) out() << "rather than " << cost_as_text(*plan.alternative) << "\n";
    if (copy && copy->reused) out() << "cached " << copy->path << "\n";
    if (copy && !copy->reused) out() << "copy " << human_size(copy->bytes) << " to " << copy->path << "\n";
    for (std::uint32_t i = 0; i < plan.lowers.size(); ++i)
        if (const LowerPlan& lower = plan.lowers[i]; lower.needs_loop())
            out() << "loop " << namer(PlannedDevice{i}) << " " << access_of(lower.read_only) << " "
                  << plan.loop_block_size << " "
                  << (lower.store ? concat("(store of ", counted(lower.store->count(), "exception"), ")")
                                  : lower.file->path())
                  << (lower.size ? concat(" (", lower.size->count(), " bytes from byte ",
                                          lower.offset.count(), " on)")
                                 : "")
                  << "\n";
    for (const DevicePlan* device : plan.devices()) {
        out() << "device " << device->name << " " << access_of(device->read_only) << " " << device->uuid
              << "\n";
        device->table.print(namer, [](std::string_view lines) { out().lines(lines); });
        out() << "\n";
    }
}

void print_as_concise(const Plan& plan) {
    const DeviceNamer namer = planned_names(plan);
    for (std::uint32_t i = 0; i < plan.lowers.size(); ++i)
        if (const LowerPlan& lower = plan.lowers[i]; lower.needs_loop())
            err() << "# losetup " << (lower.read_only ? "--read-only " : "")
                  << (lower.size ? concat("--offset ", lower.offset.count(), " --sizelimit ",
                                          lower.size->count(), " ")
                                 : "")
                  << (lower.direct_io ? "--direct-io=on " : "") << "--sector-size " << plan.loop_block_size
                  << " " << namer(PlannedDevice{i}) << " " << shell_quoted(lower.file->path()) << "\n";
    out() << print_concise(plan) << "\n";
}

// A store is in no file yet, so dmsetup could do nothing with it.
PlanShapeOptions shape_for(const TableOptions& options) {
    PlanShapeOptions shape = options.shape;
    if (!options.concise) return shape;
    shape.spread = false;  // what somebody is to type is as short as can be
    if (options.overlay.scratch)
        throw Error(ErrorKind::usage,
                    "--concise and --scratch exclude each other: dmsetup has no memory to give");
    if (shape.strategy == "exceptions")
        throw Error(ErrorKind::usage, "--concise and --strategy exceptions exclude each other");
    if (shape.strategy == "auto") shape.strategy = "linear";
    return shape;
}

void run(const TableOptions& options) {
    OpenImage opened = open_image(options.image);
    if (options.deep) {
        SilentProgress progress;
        opened.map = with_damage(opened.map, find_damage(opened.map, progress));
    }
    const PlanShapeOptions shape = shape_for(options);
    const std::optional<ChosenOverlay> overlay = ChosenOverlay::foresee(options.overlay, opened);
    const std::optional<CopyStep> copy = plan_materialise(opened, shape, options.cache_dir);
    const Plan plan = plan_for(opened, shape, overlay ? std::optional(overlay->plan()) : std::nullopt);
    print_notes(opened.notes);
    if (options.concise)
        print_as_concise(plan);
    else if (options.json)
        print_as_json(plan, copy);
    else
        print_as_text(plan, copy);
}

}  // namespace

void add_table_command(Command& app) {
    Command command = app.add_command("table", "Show the loops, devices and tables that attach would make");
    const auto options = std::make_shared<TableOptions>();
    add_image_options(command, options->image);
    add_plan_options(command, options->shape);
    add_overlay_options(command, options->overlay);
    add_cache_options(command, options->cache_dir);
    command.add_flag("--deep", options->deep,
                     "Read every compressed grain; those that do not inflate are unreadable");
    const Option json = command.add_flag("--json", options->json, "Print one JSON object");
    command
        .add_flag(
            "--concise", options->concise,
            "Print what 'dmsetup create --concise' and dm-mod.create= take; the loops it needs go to stderr")
        .excludes(json);
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
