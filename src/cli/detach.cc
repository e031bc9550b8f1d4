// vmdk-dm detach: by device name or by image, or everything.
#include "attach/detach.h"

#include <iostream>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/output.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

struct DetachCommandOptions {
    std::vector<std::string> wanted;
    bool all = false;
    bool no_udev = false;
    bool json = false;
    DetachOptions detach;
};

std::vector<const AttachedDisk*> choose(const std::vector<AttachedDisk>& disks,
                                        const DetachCommandOptions& options, Kernel& kernel) {
    std::vector<const AttachedDisk*> chosen;
    if (options.all)
        for (const AttachedDisk& disk : disks) chosen.push_back(&disk);
    for (const std::string& wanted : options.wanted) {
        const AttachedDisk* disk = &find_disk(disks, wanted, kernel);
        if (std::find(chosen.begin(), chosen.end(), disk) == chosen.end()) chosen.push_back(disk);
    }
    return chosen;
}

void run(const DetachCommandOptions& options) {
    if (options.all == !options.wanted.empty())
        throw Error(ErrorKind::usage, "detach takes either names and images, or --all");
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    const std::vector<AttachedDisk> disks = list_attached(kernel);

    if (options.all && disks.empty()) std::cerr << "vmdk-dm: nothing is attached\n";

    // One disk in use does not keep the others attached; the first error is the status.
    Json detached = Json::array();
    std::optional<Error> first_error;
    for (const AttachedDisk* disk : choose(disks, options, kernel)) {
        try {
            std::vector<std::string> notes;
            with_context(concat("cannot detach '", disk->device.name, "'"),
                         [&] { detach(*disk, options.detach, kernel, notes); });
            print_notes(notes);
            detached.push_back({{"name", disk->device.name}, {"deferred", options.detach.deferred}});
        } catch (const Error& error) {
            if (first_error) std::cerr << "vmdk-dm: " << error.what() << "\n";
            if (!first_error) first_error = error;
        }
    }
    if (options.json) print_json(detached);
    if (first_error) throw *first_error;
}

}  // namespace

void add_detach_command(CLI::App& app) {
    CLI::App& command =
        *app.add_subcommand("detach", "Remove attached disks, their partitions and loop devices");
    const auto options = std::make_shared<DetachCommandOptions>();
    command.add_option("NAME|IMAGE", options->wanted, "Names or paths of devices, or the images attached");
    command.add_flag("--all", options->all, "Everything that vmdk-dm attached");
    command.add_flag("--deferred", options->detach.deferred,
                     "What is in use goes when its last user closes it");
    command.add_flag("--no-udev", options->no_udev, "Do not wait for udev");
    command.add_flag("--json", options->json, "Print a JSON array of what was detached");
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
