// vmdk-dm detach: by device name or by image, or everything.
#include "attach/detach.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "cli/progress.h"
#include "cli/verification.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

struct DetachCommandOptions {
    std::vector<std::string> wanted;
    bool all = false;
    std::optional<std::string> verify;
    std::string progress = "auto";
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

void refuse_contradictions(const DetachCommandOptions& options) {
    if (options.all == !options.wanted.empty())
        throw Error(ErrorKind::usage, "detach takes either names and images, or --all");
    if (!options.verify) return;
    if (options.wanted.size() != 1)
        throw Error(ErrorKind::usage, "--verify needs exactly one name or image: a certificate is of one");
    if (options.detach.deferred)
        throw Error(ErrorKind::usage,
                    "--verify and --deferred exclude each other: a disk in use may still be written to");
}

// Another image's certificate would say nothing of this one.
Certificate certificate_of(const AttachedDisk& disk, const std::string& path) {
    Certificate certificate = read_certificate(path);
    if (id_of_image(certificate.image) == disk.id) return certificate;
    throw Error(ErrorKind::usage, concat("'", path, "' is the certificate of '", certificate.image,
                                         "', and '", disk.device.name, "' is ",
                                         disk.image ? concat("'", *disk.image, "'") : "another image",
                                         " (see vmdk-dm verify --image)"));
}

// What was opened to attach it may be opened again.
ImageOptions rules_of(const AttachedDisk& disk) {
    ImageOptions rules;
    for (const AttachedLower& lower : disk.lowers) {
        if (!lower.loop) rules.open.allow_devices = true;
        if (!lower.loop || lower.exception_store || lower.overlay) continue;
        const std::filesystem::path directory = std::filesystem::path(lower.loop->backing_file).parent_path();
        if (std::filesystem::is_directory(directory)) rules.chain.search_dirs.push_back(directory.string());
    }
    return rules;
}

Verification verify_now(const DetachCommandOptions& options, const AttachedDisk& disk,
                        const Certificate& certificate) {
    const SignalDelay delay;
    ProgressReport progress(options.progress);
    return verify(certificate, {"", false, rules_of(disk)}, progress);
}

void run(const DetachCommandOptions& options) {
    refuse_contradictions(options);
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    const std::vector<AttachedDisk> disks = list_attached(kernel);
    const std::vector<const AttachedDisk*> chosen = choose(disks, options, kernel);
    std::optional<Certificate> certificate;
    if (options.verify) certificate = certificate_of(*chosen.front(), *options.verify);

    if (options.all && disks.empty()) err() << "vmdk-dm: nothing is attached\n";

    // One disk in use does not keep the others attached; the first error is the status.
    Json detached = Json::array();
    std::optional<Error> first_error;
    for (const AttachedDisk* disk : chosen) {
        try {
            std::vector<std::string> notes = notes_on_files(*disk, kernel);
            with_context(concat("cannot detach '", disk->device.name, "'"),
                         [&] { detach(*disk, options.detach, kernel, notes); });
            print_notes(notes);
            detached.push_back({{"name", disk->device.name}, {"deferred", options.detach.deferred}});
        } catch (const Error& error) {
            if (first_error) print_error(error);
            if (!first_error) first_error = error;
        }
    }
    std::optional<Verification> verification;
    if (certificate && !first_error) verification = verify_now(options, *chosen.front(), *certificate);
    if (verification) detached.front()["seal"] = as_json(*certificate, *options.verify, *verification);
    if (options.json) print_json(detached);
    if (verification && !options.json) print_as_text(*certificate, *options.verify, *verification);
    if (first_error) throw *first_error;
    if (verification && verification->changed() > 0) throw ExitStatus{static_cast<int>(ErrorKind::changed)};
}

}  // namespace

void add_detach_command(Command& app) {
    Command command = app.add_command("detach", "Remove attached disks, their partitions and loop devices");
    const auto options = std::make_shared<DetachCommandOptions>();
    command.add_argument("NAME|IMAGE", options->wanted, "Names or paths of devices, or the images attached");
    command.add_flag("--all", options->all, "Everything that vmdk-dm attached");
    command.add_flag("--deferred", options->detach.deferred,
                     "What is in use goes when its last user closes it");
    command.add_option("--verify", options->verify, "CERT",
                       "When the disk is gone, compare the image's files with the certificate CERT");
    add_progress_option(command, options->progress);
    command.add_flag("--no-udev", options->no_udev, "Do not wait for udev");
    command.add_flag("--json", options->json, "Print a JSON array of what was detached");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
