// vmdk-dm table: the plan, without carrying it out. Needs no root and asks nothing of the kernel.
#include <iostream>
#include <memory>

#include "base/concat.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"

namespace vmdkdm {
namespace {

struct TableOptions {
    ImageOptions image;
    PlanShapeOptions shape;
    bool json = false;
    bool concise = false;
};

std::string_view access_of(const Plan& plan) { return plan.read_only ? "ro" : "rw"; }

std::string lower_name(const Plan& plan, std::size_t index) {
    return planned_device_name(plan, PlannedDevice{static_cast<std::uint32_t>(index)});
}

DeviceNamer namer_for(const Plan& plan) {
    return [&plan](PlannedDevice device) { return planned_device_name(plan, device); };
}

// A path as the shell takes it.
std::string shell_quoted(const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

void print_as_json(const Plan& plan) {
    Json loops = Json::array();
    for (std::size_t i = 0; i < plan.lowers.size(); ++i)
        if (plan.lowers[i].needs_loop())
            loops.push_back({{"device", lower_name(plan, i)},
                             {"file", plan.lowers[i].file->path()},
                             {"readOnly", plan.read_only},
                             {"blockSize", plan.loop_block_size}});
    Json lines = Json::array();
    for (const TableLine& line : plan.disk.table.lines()) {
        const std::string arguments = target_arguments(line.target, namer_for(plan));
        lines.push_back(concat(line.start.count(), " ", line.length.count(), " ", target_type(line.target),
                               arguments.empty() ? "" : " ", arguments));
    }
    print_json(
        {{"name", plan.disk.name},
         {"capacity", to_bytes(plan.disk.table.length()).count()},
         {"readOnly", plan.read_only},
         {"sectorSize", plan.logical_sector_size},
         {"loops", loops},
         {"devices", Json::array({{{"name", plan.disk.name}, {"uuid", plan.disk.uuid}, {"table", lines}}})}});
}

void print_as_text(const Plan& plan) {
    for (std::size_t i = 0; i < plan.lowers.size(); ++i)
        if (plan.lowers[i].needs_loop())
            std::cout << "loop " << lower_name(plan, i) << " " << access_of(plan) << " "
                      << plan.loop_block_size << " " << plan.lowers[i].file->path() << "\n";
    std::cout << "device " << plan.disk.name << " " << access_of(plan) << " " << plan.disk.uuid << "\n";
    plan.disk.table.print(namer_for(plan), [](std::string_view lines) { std::cout << lines; });
    std::cout << "\n";
}

void print_as_concise(const Plan& plan) {
    for (std::size_t i = 0; i < plan.lowers.size(); ++i)
        if (plan.lowers[i].needs_loop())
            std::cerr << "# losetup " << (plan.read_only ? "--read-only " : "") << "--sector-size "
                      << plan.loop_block_size << " " << lower_name(plan, i) << " "
                      << shell_quoted(plan.lowers[i].file->path()) << "\n";
    std::cout << print_concise(plan) << "\n";
}

void run(const TableOptions& options) {
    OpenImage opened = open_image(options.image);
    const Plan plan = plan_for(opened, options.shape);
    print_notes(opened.notes);
    if (options.concise)
        print_as_concise(plan);
    else if (options.json)
        print_as_json(plan);
    else
        print_as_text(plan);
}

}  // namespace

void add_table_command(CLI::App& app) {
    CLI::App& command =
        *app.add_subcommand("table", "Show the loops, devices and tables that attach would make");
    const auto options = std::make_shared<TableOptions>();
    add_image_options(command, options->image);
    add_plan_options(command, options->shape);
    CLI::Option* json = command.add_flag("--json", options->json, "Print one JSON object");
    command
        .add_flag(
            "--concise", options->concise,
            "Print what 'dmsetup create --concise' and dm-mod.create= take; the loops it needs go to stderr")
        ->excludes(json);
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
