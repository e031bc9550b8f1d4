// vmdk-dm attach: the disk and its partitions under /dev/mapper.
#include "attach/attach.h"

#include <iostream>
#include <map>
#include <memory>

#include "attach/guard.h"
#include "attach/in_place.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

struct AttachCommandOptions {
    ImageOptions image;
    PlanShapeOptions shape;
    DirectIo direct_io = DirectIo::automatic;
    bool no_partitions = false;
    std::string delimiter;
    bool has_delimiter = false;
    bool no_udev = false;
    bool json = false;
};

void print_as_json(const AttachResult& result, const Plan& plan, const Image& image) {
    Json partitions = Json::array();
    for (const PartitionDevice& device : result.partitions)
        partitions.push_back({{"number", device.partition.number},
                              {"path", device.path},
                              {"start", to_bytes(device.partition.start).count()},
                              {"size", to_bytes(device.partition.size).count()},
                              {"type", device.partition.type},
                              {"name", device.partition.name},
                              {"uuid", device.partition.uuid}});
    print_json({{"name", plan.disk.name},
                {"image", image.file->path()},
                {"disk", result.disk_path},
                {"uuid", plan.disk.uuid},
                {"size", to_bytes(plan.disk.table.length()).count()},
                {"readOnly", plan.read_only},
                {"sectorSize", plan.logical_sector_size},
                {"partitions", partitions}});
}

void print_as_text(const AttachResult& result) {
    std::cout << result.disk_path << "\n";
    for (const PartitionDevice& device : result.partitions) std::cout << device.path << "\n";
}

void run(const AttachCommandOptions& options) {
    OpenImage opened = open_image(options.image);
    if (!options.image.allow_damaged) refuse_damage(opened);
    const Plan plan = plan_for(opened, options.shape);
    const AttachResult result = with_context(concat("cannot attach '", options.image.image, "'"), [&] {
        const SignalDelay delay;
        LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
        if (!plan.read_only) check_in_place(opened.image(), plan, kernel, opened.notes);
        const AttachGuard guard(kernel, plan.id, plan.disk.name);
        AttachOptions attach_options;
        attach_options.direct_io = options.direct_io;
        attach_options.partitions = !options.no_partitions;
        if (options.has_delimiter) attach_options.partition_delimiter = options.delimiter;
        attach_options.image_path = opened.image().file->path();
        return attach(plan, attach_options, kernel, opened.notes);
    });
    print_notes(opened.notes);
    options.json ? print_as_json(result, plan, opened.image()) : print_as_text(result);
}

}  // namespace

void add_attach_command(CLI::App& app) {
    CLI::App& command =
        *app.add_subcommand("attach", "Make an image's disk and partitions appear under /dev/mapper");
    const auto options = std::make_shared<AttachCommandOptions>();
    add_image_options(command, options->image);
    add_plan_options(command, options->shape);
    command.add_flag("--no-partitions", options->no_partitions, "Make the disk only");
    CLI::Option* delimiter =
        command.add_option("-p,--delimiter", options->delimiter,
                           "Between disk name and partition number (default: 'p' after a digit)");
    delimiter->type_name("TEXT");
    static const std::map<std::string, DirectIo> direct_io_words = {
        {"auto", DirectIo::automatic}, {"on", DirectIo::on}, {"off", DirectIo::off}};
    command.add_option("--direct-io", options->direct_io, "Direct I/O of the loop devices: auto, on or off")
        ->type_name("WHEN")
        ->transform(CLI::CheckedTransformer(direct_io_words).description(""));
    command.add_flag("--no-udev", options->no_udev,
                     "Do not wait for udev; make the nodes in /dev/mapper directly");
    command.add_flag("--json", options->json, "Print one JSON object");
    command.callback([options, delimiter] {
        options->has_delimiter = delimiter->count() > 0;
        run(*options);
    });
}

}  // namespace vmdkdm
