// vmdk-dm compact: the disk as a raw sparse file, or onto a block device.
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/hash_output.h"
#include "cli/image_options.h"
#include "cli/overlaid_image.h"
#include "cli/printer.h"
#include "cli/progress.h"
#include "cli/raw_output.h"
#include "confine/capabilities.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"
#include "kernel/target_device.h"

namespace vmdkdm {
namespace {

struct CompactOptions {
    ImageOptions image;
    OverlayToRead overlay;
    OutputOptions output;
    bool to_device = false;
    std::optional<std::string> hashes;
    std::string progress = "auto";
    bool json = false;
};

CopyOptions copy_options(const CompactOptions& options) {
    CopyOptions copy;
    copy.allow_damaged = options.image.allow_damaged;
    if (options.hashes) copy.hashes = parse_algorithms(*options.hashes);
    return copy;
}

Written compact_to_device(const CompactOptions& options, OpenImage& opened,
                          const std::optional<OverlayOnImage>& overlay, Progress& progress) {
    LinuxKernel kernel(UdevUse::off);
    const Bytes capacity = to_bytes(opened.map.capacity());
    std::vector<FileIdentity> sources = files_of_chain(options.image, opened);
    if (overlay) sources.push_back(overlay->file.file()->identity());
    const TargetDevice device =
        open_target_device(kernel, options.output.path, capacity, sources, options.output.force);
    if (device.size > capacity)
        opened.notes.push_back(concat("'", device.path, "' has ", (device.size - capacity).count(),
                                      " bytes more than the disk; they are left as they are"));
    const CopyTarget target{device.fd.get(), device.path, true};
    Written done{device.path, copy_disk(opened.map, &target, copy_options(options), progress)};
    if (!options.output.no_sync && ::fsync(device.fd.get()) != 0)
        throw system_error(concat("cannot write '", device.path, "' to the disk"), errno);
    return done;
}

void run(const CompactOptions& options) {
    if (!options.to_device) keep_file_access_only();
    copy_options(options);  // refuses what is mistyped before anything is read
    const auto start = std::chrono::steady_clock::now();
    OpenImage opened = open_image(options.image);
    const auto overlay = lay_over(options.overlay, opened);
    // A signal that comes when the file has its name comes too late.
    const SignalDelay delay;
    with_context(concat("cannot compact '", options.image.image, "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
        Written done = [&] {
            ProgressReport progress(options.progress);
            return options.to_device ? compact_to_device(options, opened, overlay, progress)
                                     : write_raw(options.output, options.image, opened, overlay,
                                                 copy_options(options), progress);
        }();
        done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        print_written(done, opened, overlay, options.json);
        out().flush();
        delay.discard();
    });
}

}  // namespace

void add_compact_command(Command& app) {
    Command command = app.add_command("compact", "Write the disk to a raw sparse file or a block device");
    const auto options = std::make_shared<CompactOptions>();
    add_image_options(command, options->image);
    add_overlay_to_read(command, options->overlay);
    command.add_argument("OUT", options->output.path, "The file to make, or with --to-device the device")
        .required();
    command.add_flag("--to-device", options->to_device, "OUT is a block device, which is overwritten");
    add_output_options(command, options->output,
                       "Replace OUT when it exists; overwrite a device that holds something");
    add_hash_option(command, options->hashes);
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object instead of the path");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
