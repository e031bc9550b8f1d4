// vmdk-dm umount: undoes mounts, and waits until their devices are gone.
#include "mount/unmount.h"

#include <algorithm>
#include <memory>
#include <set>

#include "attach/attached.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/output.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

struct UmountCommandOptions {
    std::vector<std::string> wanted;
    bool no_udev = false;
    bool json = false;
};

// A disk's name, path or image: all that is mounted from it. Else a directory.
std::vector<OurMount> mounts_meant(const std::string& wanted, const std::vector<AttachedDisk>& disks,
                                   const std::vector<OurMount>& ours, Kernel& kernel) {
    const AttachedDisk* disk = find_disk_if_attached(disks, wanted, kernel);
    if (disk == nullptr) return mounts_at(wanted, ours);
    std::vector<OurMount> meant = ours;
    std::erase_if(meant, [disk](const OurMount& mount) { return !is_on(mount, *disk); });
    if (meant.empty()) throw Error(ErrorKind::not_found, concat("nothing of '", wanted, "' is mounted"));
    return meant;
}

// In the order in which they were mounted.
std::vector<OurMount> choose(const UmountCommandOptions& options, const std::vector<AttachedDisk>& disks,
                             const std::vector<OurMount>& ours, Kernel& kernel) {
    std::set<std::string> ids;
    for (const std::string& wanted : options.wanted)
        for (const OurMount& mount : mounts_meant(wanted, disks, ours, kernel)) ids.insert(mount.id);
    std::vector<OurMount> chosen = ours;
    std::erase_if(chosen, [&ids](const OurMount& mount) { return !ids.contains(mount.id); });
    return chosen;
}

void run(const UmountCommandOptions& options) {
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    std::vector<AttachedDisk> disks = list_attached(kernel);
    const std::vector<OurMount> chosen = choose(options, disks, list_our_mounts(disks, kernel), kernel);
    unmount_file_systems(chosen, {}, kernel);
    std::erase_if(disks, [&chosen](const AttachedDisk& disk) {
        return std::none_of(chosen.begin(), chosen.end(),
                            [&disk](const OurMount& mount) { return is_on(mount, disk); });
    });
    std::vector<std::string> notes;
    wait_for_removal(disks, {}, kernel, notes);
    print_notes(notes);
    if (!options.json) return;
    Json unmounted = Json::array();
    for (auto mount = chosen.rbegin(); mount != chosen.rend(); ++mount)
        unmounted.push_back({{"directory", mount->directory}, {"device", mount->source}});
    print_json(unmounted);
}

}  // namespace

void add_umount_command(Command& app) {
    Command command = app.add_command("umount", "Unmount, and wait until what mount made for it is gone");
    const auto options = std::make_shared<UmountCommandOptions>();
    command
        .add_argument("DIR|NAME|IMAGE", options->wanted,
                      "Directories; or names or images of disks, of which everything is unmounted")
        .required();
    command.add_flag("--no-udev", options->no_udev, "Do not wait for udev");
    command.add_flag("--json", options->json, "Print a JSON array of what was unmounted");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
