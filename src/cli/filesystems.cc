// vmdk-dm filesystems: what is on a disk, attached or not.
#include <unistd.h>

#include <memory>

#include "attach/attach.h"
#include "attach/guard.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/image_options.h"
#include "cli/key_options.h"
#include "cli/output.h"
#include "cli/preparation.h"
#include "cli/volume_output.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"
#include "plan/names.h"
#include "stack/activate.h"
#include "stack/volume.h"

namespace vmdkdm {
namespace {

struct FilesystemsOptions {
    ImageOptions image;
    PlanShapeOptions shape;
    KeyOptions keys;
    PreparationOptions preparation;
    bool no_udev = false;
    bool json = false;
};

// What lies on it is brought up for as long as it takes to look; read-only, an overlay is not written to
// either.
Volume look_at(const AttachedDisk& disk, const FilesystemsOptions& options, Kernel& kernel,
               std::vector<std::string>& notes) {
    ActivateOptions activate_options;
    activate_options.keys = keys_of(options.keys, false);
    activate_options.read_only = true;
    activate_options.skip_locked = true;
    activate_options.skip_arrays = true;
    try {
        const Activation activation = activate({disk}, activate_options, kernel, notes);
        return survey(disk, kernel);
    } catch (const Error& error) {
        if (options.keys.given()) throw;
        notes.push_back(concat("what lies deeper is not shown: ", error.what()));
        return survey(disk, kernel);
    }
}

const AttachedDisk& disk_of(const std::vector<AttachedDisk>& disks, const std::string& id) {
    for (const AttachedDisk& disk : disks)
        if (disk.id == id) return disk;
    throw Error(ErrorKind::not_found, "the disk has gone");
}

// The usual name, unless a disk has it.
std::string free_name(const std::string& image, Kernel& kernel) {
    constexpr std::size_t long_enough = 60;
    const std::string name = default_name(image).substr(0, long_enough);
    for (const DmInfo& device : kernel.list_devices())
        if (device.name.starts_with(name)) return concat(name, "-", ::getpid());
    return name;
}

Volume attach_and_look(FilesystemsOptions& options, Kernel& kernel, std::vector<std::string>& notes) {
    OpenImage opened = open_image(options.image);
    if (!options.image.allow_damaged) refuse_damage(opened);
    copy_first(options.preparation, options.shape, {options.image.allow_damaged}, opened);
    options.shape.name = free_name(opened.image().path, kernel);
    const Plan plan = feasible_plan(options.preparation, options.shape, std::nullopt, opened);
    AttachOptions attach_options;
    attach_options.image_path = opened.image().file->path();
    attach_options.run_dir = options.preparation.run_dir;
    // Gone last: it cleans up when we are killed before.
    AttachGuard guard(kernel, plan.id, plan.disk.name);
    const Attachment attachment = attach_for_the_moment(plan, attach_options, kernel, opened.notes);
    notes.insert(notes.end(), opened.notes.begin(), opened.notes.end());
    const std::vector<AttachedDisk> disks = list_attached(kernel);
    return look_at(disk_of(disks, plan.id), options, kernel, notes);
}

void run(FilesystemsOptions& options) {
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    const SignalDelay delay;
    with_context(concat("cannot look into '", options.image.image, "'"), [&] {
        std::vector<std::string> notes;
        const std::vector<AttachedDisk> disks = list_attached(kernel);
        const AttachedDisk* attached = find_disk_if_attached(disks, options.image.image, kernel);
        const Volume disk = attached != nullptr ? look_at(*attached, options, kernel, notes)
                                                : attach_and_look(options, kernel, notes);
        print_notes(notes);
        options.json ? print_json(as_json(disk, attached == nullptr)) : print_tree(disk);
    });
}

}  // namespace

void add_filesystems_command(Command& app) {
    Command command =
        app.add_command("filesystems", "Show what is on a disk: partitions, volumes, file systems");
    const auto options = std::make_shared<FilesystemsOptions>();
    add_image_options(command, options->image);
    command.option("IMAGE").help("The image, or the name of an attached disk");
    command
        .add_option("--sector-size", options->shape.sector_size, "BYTES",
                    "Logical sector of the disk, 512 or 4096 (default: what the image says)")
        .one_of({512, 4096});
    add_key_options(command, options->keys);
    add_preparation_options(command, options->preparation);
    command.add_flag("--no-udev", options->no_udev,
                     "Do not wait for udev; make the nodes in /dev/mapper directly");
    command.add_flag("--json", options->json, "Print one JSON object");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
