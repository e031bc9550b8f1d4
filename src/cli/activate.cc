// vmdk-dm activate, deactivate: what lies on attached disks, up and down again.
#include "stack/activate.h"
#include "cli/printer.h"

#include <algorithm>
#include <memory>

#include "attach/attached.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/key_options.h"
#include "cli/output.h"
#include "cli/volume_output.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

struct StackCommandOptions {
    std::vector<std::string> wanted;
    KeyOptions keys;
    ActivateOptions activate;
    bool no_udev = false;
    bool json = false;
};

std::vector<AttachedDisk> choose(const StackCommandOptions& options, Kernel& kernel) {
    const std::vector<AttachedDisk> disks = list_attached(kernel);
    std::vector<AttachedDisk> chosen;
    for (const std::string& wanted : options.wanted) {
        const AttachedDisk& disk = find_disk(disks, wanted, kernel);
        if (std::none_of(chosen.begin(), chosen.end(),
                         [&](const AttachedDisk& other) { return other.id == disk.id; }))
            chosen.push_back(disk);
    }
    return chosen;
}

std::string quoted(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += concat(text.empty() ? "'" : ", '", name, "'");
    return text;
}

void print_made(const std::vector<MadeVolume>& made, const StackCommandOptions& options) {
    if (made.empty())
        err() << "vmdk-dm: note: there is nothing to be brought up on " << quoted(options.wanted) << "\n";
    Json list = Json::array();
    for (const MadeVolume& volume : made) {
        if (!options.json) out() << volume.path << "\n";
        list.push_back({{"name", volume.name}, {"kind", json_word(volume.kind)}, {"path", volume.path}});
    }
    if (options.json) print_json(list);
}

void run_activate(StackCommandOptions& options) {
    options.activate.keys = keys_of(options.keys, true);
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    const std::vector<AttachedDisk> disks = choose(options, kernel);
    const SignalDelay delay;
    with_context(concat("cannot activate ", quoted(options.wanted)), [&] {
        std::vector<std::string> notes;
        Activation activation = activate(disks, options.activate, kernel, notes);
        activation.keep();
        print_notes(notes);
        print_made(activation.made(), options);
        out().flush();
        delay.discard();
    });
}

void run_deactivate(const StackCommandOptions& options) {
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    Json list = Json::array();
    for (const AttachedDisk& disk : choose(options, kernel)) {
        std::vector<std::string> notes;
        const std::vector<std::string> removed =
            with_context(concat("cannot deactivate '", disk.device.name, "'"),
                         [&] { return deactivate(disk, kernel, notes); });
        print_notes(notes);
        for (const std::string& path : removed) list.push_back(path);
    }
    if (options.json) print_json(list);
}

}  // namespace

void add_activate_command(Command& app) {
    Command command = app.add_command("activate", "Bring up LVM, LUKS, BitLocker and MD on attached disks");
    const auto options = std::make_shared<StackCommandOptions>();
    command.add_argument("NAME|IMAGE", options->wanted, "Attached disks; a VG or array may span several")
        .required();
    add_key_options(command, options->keys);
    command.add_option("--vg-name", options->activate.vg_name, "VG",
                       "Give the VG this name and new UUIDs, on an overlay only, and let lvm activate it");
    command.add_flag("--no-udev", options->no_udev,
                     "Do not wait for udev; make the nodes in /dev/mapper directly");
    command.add_flag("--json", options->json, "Print a JSON array of what came up");
    command.on_run([options] { run_activate(*options); });
}

void add_deactivate_command(Command& app) {
    Command command = app.add_command("deactivate", "Take down what activate brought up");
    const auto options = std::make_shared<StackCommandOptions>();
    command.add_argument("NAME|IMAGE", options->wanted, "Attached disks").required();
    command.add_flag("--no-udev", options->no_udev, "Do not wait for udev");
    command.add_flag("--json", options->json, "Print a JSON array of what was taken down");
    command.on_run([options] { run_deactivate(*options); });
}

}  // namespace vmdkdm
