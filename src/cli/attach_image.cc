#include "cli/attach_image.h"

#include <memory>

#include "attach/attach.h"
#include "attach/guard.h"
#include "attach/in_place.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/progress.h"
#include "kernel/linux_kernel.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json overlay_as_json(const Plan& plan) {
    if (!plan.overlay) return nullptr;
    const LowerPlan& overlay = plan.lowers.at(plan.overlay->index);
    const bool scratch = overlay.offset == Bytes(0);
    return {{"file", scratch ? Json(nullptr) : Json(overlay.file->path())},
            {"scratch", scratch},
            {"limit", overlay.size->count()}};
}

Json as_json(const AttachResult& result, const AttachCommandOptions& options, const Plan& plan,
             const Image& image, const std::optional<CopyStep>& copied, const OutputFile* certificate) {
    Json partitions = Json::array();
    for (const PartitionDevice& device : result.partitions)
        partitions.push_back({{"number", device.partition.number},
                              {"path", device.path},
                              {"start", to_bytes(device.partition.start).count()},
                              {"size", to_bytes(device.partition.size).count()},
                              {"type", or_null(device.partition.type)},
                              {"label", or_null(device.partition.label)},
                              {"uuid", or_null(device.partition.uuid)}});
    return {{"name", plan.disk.name},
            {"image", image.file->path()},
            {"disk", result.disk_path},
            {"uuid", plan.disk.uuid},
            {"capacity", to_bytes(plan.disk.table.length()).count()},
            {"readOnly", plan.disk.read_only},
            {"exposed", options.expose},
            {"overlay", overlay_as_json(plan)},
            {"sectorSize", plan.logical_sector_size},
            {"strategy", to_string(plan.cost.strategy)},
            {"materialised", as_json(copied)},
            {"seal", certificate != nullptr ? Json(certificate->path()) : Json(nullptr)},
            {"partitions", partitions}};
}

std::vector<std::string> paths_of(const AttachResult& result) {
    std::vector<std::string> paths = {result.disk_path};
    for (const PartitionDevice& device : result.partitions) paths.push_back(device.path);
    return paths;
}

AttachResult attach_plan(const AttachCommandOptions& options, const Plan& plan,
                         const std::optional<ChosenOverlay>& overlay, OutputFile* certificate,
                         OpenImage& opened) {
    AttachOptions attach_options;
    attach_options.partitions = !options.no_partitions;
    attach_options.exposed = options.expose;
    attach_options.partition_delimiter = options.delimiter;
    attach_options.run_dir = options.preparation.run_dir;
    attach_options.image_path = opened.image().file->path();
    if (options.delimiter) check_delimiter(plan.disk.name, *options.delimiter);

    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    if (options.shape.in_place) check_in_place(opened.image(), plan, kernel, opened.notes);
    AttachGuard guard(kernel, plan.id, plan.disk.name, [&overlay] {
        if (overlay) overlay->remove_made();
    });
    attach_options.before_keep = [&] {
        // All or nothing: a certificate appears with the disk that it was made for.
        if (certificate != nullptr) certificate->publish(/*sync=*/true);
        guard.about_to_keep();
    };
    return attach(plan, attach_options, kernel, opened.notes);
}

std::unique_ptr<OutputFile> seal_first(const AttachCommandOptions& options, const OpenImage& opened) {
    if (!options.seal.seal && !options.seal.require) return nullptr;
    ProgressReport progress(options.preparation.progress);
    return seal(options.seal, options.image, opened, progress);
}

}  // namespace

void add_attach_options(Command& command, AttachCommandOptions& options) {
    add_image_options(command, options.image);
    add_plan_options(command, options.shape);
    add_overlay_options(command, options.overlay);
    command.add_flag("--no-partitions", options.no_partitions, "Make the disk only");
    command.add_option("-p,--delimiter", options.delimiter, "DELIMITER",
                       "Between disk name and partition number (default: 'p' after a digit)");
    command.add_flag("--expose", options.expose,
                     "No quarantine: let udev, LVM and others find what is on the disk");
    add_preparation_options(command, options.preparation);
    add_seal_options(command, options.seal);
    command.add_flag("--no-udev", options.no_udev,
                     "Do not wait for udev; make the nodes in /dev/mapper directly");
    command.add_flag("--json", options.json, "Print JSON");
}

void attach_image(const AttachCommandOptions& options, const AttachReport& report) {
    OpenImage opened = open_image(options.image);
    const SignalDelay delay;
    with_context(concat("cannot attach '", options.image.image, "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
        const std::unique_ptr<OutputFile> certificate = seal_first(options, opened);
        std::optional<ChosenOverlay> overlay = ChosenOverlay::open(options.overlay, opened);
        // What a certificate vouches for is made from the bytes that were hashed for it.
        const bool is_sealed = options.seal.seal || options.seal.require;
        const std::optional<CopyStep> copied =
            copy_first(options.preparation, options.shape, {options.image.allow_damaged, is_sealed}, opened);
        const Plan plan = feasible_plan(options.preparation, options.shape,
                                        overlay ? std::optional(overlay->plan()) : std::nullopt, opened);
        const AttachResult result = attach_plan(options, plan, overlay, certificate.get(), opened);
        if (overlay) overlay->keep();
        report({paths_of(result), opened.notes,
                as_json(result, options, plan, opened.image(), copied, certificate.get())},
               delay);
    });
}

}  // namespace vmdkdm
