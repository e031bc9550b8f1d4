#include "mount/unmount.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/proc.h"
#include "mount/mount_point.h"
#include "mount/system_mount.h"
#include "stack/activate.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_tries_ms = 20;

// Of the files on it; btrfs numbers its subvolumes itself.
std::vector<std::string> users_of(const std::string& directory) {
    struct stat status = {};
    return ::stat(directory.c_str(), &status) == 0 ? processes_on_file_system(status.st_dev)
                                                   : std::vector<std::string>();
}

// What is mounted inside keeps a file system as much as a process does.
std::vector<std::string> mounts_inside(const std::string& directory) {
    std::vector<std::string> inside;
    for (const MountEntry& mount : mounts_of_process("self"))
        if (mount.mount_point != directory && lies_in(mount.mount_point, directory))
            inside.push_back(concat("a mount at '", mount.mount_point, "'"));
    return inside;
}

[[noreturn]] void report_busy(const std::string& directory) {
    std::vector<std::string> users = mounts_inside(directory);
    for (std::string& process : users_of(directory)) users.push_back(std::move(process));
    std::string text;
    for (const std::string& user : users) text += concat(text.empty() ? "" : ", ", user);
    throw Error(ErrorKind::busy,
                concat("it is in use by ", text.empty() ? "something that cannot be named" : text));
}

void unmount_with_patience(const std::string& directory, const UnmountOptions& options, Kernel& kernel) {
    for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
        try {
            return unmount(directory);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::busy) throw;
        }
        if (waited_ms >= options.patience_ms || !mounts_inside(directory).empty()) report_busy(directory);
        kernel.pause_ms(pause_between_tries_ms);
    }
}

// Nobody but processes has it open, and it goes when they close it.
bool goes_by_itself(const DmInfo& device, Kernel& kernel) {
    if (!device.deferred_remove) return false;
    const std::vector<UpperDevice> above = kernel.devices_above(device.device);
    const std::vector<DmInfo> mapped = kernel.list_devices();
    for (const UpperDevice& upper : above) {
        const auto one = std::find_if(mapped.begin(), mapped.end(),
                                      [&upper](const DmInfo& info) { return info.device == upper.device; });
        if (one == mapped.end() || !goes_by_itself(*one, kernel)) return false;
    }
    if (!above.empty()) return true;
    const std::vector<Holder> holders = kernel.holders(device.device);
    return std::all_of(holders.begin(), holders.end(),
                       [](const Holder& holder) { return holder.kind == Holder::Kind::process; });
}

// The devices of the disk, and those on it, that are still there and on their way.
std::vector<DmInfo> going(const std::vector<AttachedDisk>& disks, Kernel& kernel) {
    std::set<DeviceNumber> of_disks;
    for (const AttachedDisk& disk : disks) {
        for (const DeviceNumber device : devices_on(disk, kernel)) of_disks.insert(device);
        for (const AttachedInner& inner : disk.inner) of_disks.insert(inner.device.device);
    }
    std::vector<DmInfo> found;
    for (const DmInfo& device : kernel.list_devices())
        if (of_disks.contains(device.device) && goes_by_itself(device, kernel)) found.push_back(device);
    return found;
}

// Arrays know no removal mark. Where everything else on the disk goes by itself and nothing is mounted from
// it any more, they were there for the mount.
void stop_arrays(const AttachedDisk& disk, Kernel& kernel, std::vector<std::string>& notes) {
    if (!disk.device.deferred_remove) return;
    const std::vector<DmInfo> mapped = kernel.list_devices();
    const std::vector<DeviceNumber> devices = devices_on(disk, kernel);
    const bool has_array = std::any_of(devices.begin(), devices.end(), [&mapped](DeviceNumber device) {
        return std::none_of(mapped.begin(), mapped.end(),
                            [device](const DmInfo& info) { return info.device == device; });
    });
    if (!has_array || !list_our_mounts({disk}, kernel).empty()) return;
    try {
        deactivate(disk, kernel, notes);
    } catch (const Error& error) {
        notes.emplace_back(error.what());
    }
}

// Loops that hold the files of disks that are gone.
std::vector<std::string> loops_of_gone(const std::vector<AttachedDisk>& disks, Kernel& kernel) {
    std::vector<std::string> left;
    const std::vector<DmInfo> mapped = kernel.list_devices();
    const std::vector<LoopInfo> loops = kernel.list_loops();
    for (const AttachedDisk& disk : disks) {
        const bool is_there = std::any_of(mapped.begin(), mapped.end(), [&disk](const DmInfo& device) {
            return device.uuid == disk.device.uuid;
        });
        if (is_there) continue;
        for (const AttachedLower& lower : disk.lowers)
            for (const LoopInfo& loop : loops)
                if (lower.loop && loop.device == lower.loop->device &&
                    loop.backing_identity == lower.loop->backing_identity)
                    left.push_back(loop.node);
    }
    return left;
}

}  // namespace

std::vector<OurMount> mounts_at(const std::string& directory, const std::vector<OurMount>& ours) {
    std::error_code error;
    const std::string path = std::filesystem::canonical(directory, error).string();
    if (error) throw system_error(concat("'", directory, "'"), error.value());
    std::optional<MountEntry> topmost;
    for (MountEntry& mount : mounts_of_process("self"))
        if (mount.mount_point == path) topmost = std::move(mount);
    if (!topmost) throw Error(ErrorKind::not_found, concat("nothing is mounted on '", directory, "'"));
    const auto own = std::find_if(ours.begin(), ours.end(),
                                  [&topmost](const OurMount& mount) { return mount.id == topmost->id; });
    if (own == ours.end())
        throw Error(ErrorKind::refused, concat("what is mounted on '", directory, "' (", topmost->source,
                                               ") lies on no disk of vmdk-dm's (use umount(8))"));
    std::vector<OurMount> meant = {*own};
    std::copy_if(std::next(own), ours.end(), std::back_inserter(meant), [&path](const OurMount& mount) {
        return mount.directory != path && lies_in(mount.directory, path);
    });
    return meant;
}

void unmount_file_systems(const std::vector<OurMount>& chosen, const UnmountOptions& options,
                          Kernel& kernel) {
    for (auto mount = chosen.rbegin(); mount != chosen.rend(); ++mount)
        with_context(concat("cannot unmount '", mount->directory, "'"),
                     [&] { unmount_with_patience(mount->directory, options, kernel); });
}

void wait_for_removal(const std::vector<AttachedDisk>& disks, const UnmountOptions& options, Kernel& kernel,
                      std::vector<std::string>& notes) {
    for (const AttachedDisk& disk : disks) stop_arrays(disk, kernel, notes);
    std::string left;
    for (unsigned waited_ms = 0; waited_ms <= options.removal_patience_ms;
         waited_ms += pause_between_tries_ms) {
        left.clear();
        for (const DmInfo& device : going(disks, kernel))
            left += concat(left.empty() ? "" : ", ", kernel.device_path(device.name));
        if (left.empty())
            for (const std::string& loop : loops_of_gone(disks, kernel))
                left += concat(left.empty() ? "" : ", ", loop);
        if (left.empty()) break;
        kernel.pause_ms(pause_between_tries_ms);
    }
    if (!left.empty())
        notes.push_back(concat(left, " is still open elsewhere; it goes when it is closed there"));
    for (const AttachedDisk& disk : disks) kernel.refresh_nodes(disk.device.name);
    kernel.settle();
}

}  // namespace vmdkdm
