#include "attach/detach.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "attach/guard_process.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_tries_ms = 20;

std::vector<const DmInfo*> devices_top_down(const AttachedDisk& disk) {
    std::vector<const DmInfo*> devices;
    for (auto partition = disk.partitions.rbegin(); partition != disk.partitions.rend(); ++partition)
        devices.push_back(&partition->device);
    devices.push_back(&disk.device);
    for (const AttachedInner& inner : disk.inner) devices.push_back(&inner.device);
    return devices;
}

std::string describe(const std::vector<Holder>& holders) {
    if (holders.empty()) return "something that cannot be named (another process namespace?)";
    std::string text;
    for (const Holder& holder : holders) text += (text.empty() ? "" : ", ") + holder.what;
    return text;
}

// Who uses the device, other devices of the disk not counted.
std::vector<Holder> foreign_holders(const AttachedDisk& disk, const DmInfo& device, Kernel& kernel) {
    std::vector<Holder> holders = kernel.holders(device.device);
    for (const DmInfo* own : devices_top_down(disk))
        std::erase_if(holders, [&](const Holder& holder) {
            return holder.kind == Holder::Kind::device &&
                   holder.what == concat("dm device '", own->name, "'");
        });
    return holders;
}

// Whether it is something that activate makes or lvm, cryptsetup and mdadm do.
bool is_stacked(const Holder& holder, Kernel& kernel) {
    if (holder.what.starts_with("device 'md")) return true;
    for (const DmInfo& device : kernel.list_devices())
        if (holder.what == concat("dm device '", device.name, "'"))
            return parse_logical_volume_uuid(device.uuid) || device.uuid.starts_with("LVM-") ||
                   device.uuid.starts_with("CRYPT-");
    return false;
}

// What to do about the users.
std::string advice(const std::vector<Holder>& holders, Kernel& kernel) {
    const bool stacked = std::any_of(holders.begin(), holders.end(),
                                     [&](const Holder& holder) { return is_stacked(holder, kernel); });
    return stacked ? " (see vmdk-dm deactivate)" : " (see --deferred)";
}

// Waits until nothing but the disk's own devices has any of them open. A mount does not go by itself, so it
// ends the wait.
void wait_until_unused(const AttachedDisk& disk, const DetachOptions& options, Kernel& kernel) {
    for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
        std::map<std::string, int> open_counts;
        for (const DmInfo& now : kernel.list_devices()) open_counts[now.name] = now.open_count;
        open_counts[disk.device.name] -= static_cast<int>(disk.partitions.size());
        for (const AttachedInner& inner : disk.inner) open_counts[inner.device.name] -= inner.own_users;

        const DmInfo* in_use = nullptr;
        for (const DmInfo* device : devices_top_down(disk))
            if (open_counts[device->name] > 0 && in_use == nullptr) in_use = device;
        if (in_use == nullptr) return;

        const std::vector<Holder> holders = foreign_holders(disk, *in_use, kernel);
        const bool may_go_by_itself = std::all_of(holders.begin(), holders.end(), [](const Holder& holder) {
            return holder.kind == Holder::Kind::process;
        });
        if (!may_go_by_itself || waited_ms >= options.patience_ms)
            throw Error(ErrorKind::busy, concat(kernel.device_path(in_use->name),
                                                " is in use: ", describe(holders), advice(holders, kernel)));
        kernel.pause_ms(pause_between_tries_ms);
    }
}

void remove_with_patience(const DmInfo& device, const DetachOptions& options, Kernel& kernel) {
    for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
        try {
            return kernel.remove_device(device.name);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::not_found) return;
            if (error.kind() != ErrorKind::busy || waited_ms >= options.patience_ms) throw;
        }
        kernel.pause_ms(pause_between_tries_ms);
    }
}

// The loops clear themselves with their last user, which should be gone now; another one may still look at
// them.
void wait_for_loops(const AttachedDisk& disk, const DetachOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes) {
    for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
        std::string left;
        for (const AttachedLower& lower : disk.lowers)
            if (lower.loop && lower.loop->autoclear && kernel.is_still_bound(*lower.loop))
                left += (left.empty() ? "" : ", ") + lower.loop->node;
        if (left.empty()) return;
        if (waited_ms >= options.patience_ms) {
            notes.push_back(concat(left, " is still open elsewhere; it is cleared when it is closed there"));
            return;
        }
        kernel.pause_ms(pause_between_tries_ms);
    }
}

// The overlay's file, opened while it is still attached: only who has it open then hears of a write that
// fails while its devices go.
class OverlayData {
  public:
    explicit OverlayData(const AttachedDisk& disk) {
        if (!disk.overlay || disk.overlay->scratch) return;
        path_ = disk.overlay->loop.backing_file;
        UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        struct stat status = {};
        const FileIdentity& identity = disk.overlay->loop.backing_identity;
        if (fd && ::fstat(fd.get(), &status) == 0 && status.st_dev == identity.device &&
            status.st_ino == identity.inode)
            fd_ = std::move(fd);
    }

    void write_to_disk(std::vector<std::string>& notes) const {
        if (path_.empty()) return;
        if (!fd_) {
            notes.push_back(concat("the overlay '", path_,
                                   "' cannot be opened, so whether all of it is on the disk is not known"));
        } else if (::fsync(fd_.get()) != 0) {
            throw system_error(
                concat("it is detached, but the overlay '", path_, "' could not be written to the disk"),
                errno);
        }
    }

  private:
    std::string path_;  // empty when there is no overlay in a file
    UniqueFd fd_;
};

}  // namespace

void detach(const AttachedDisk& disk, const DetachOptions& options, Kernel& kernel,
            std::vector<std::string>& notes) {
    const OverlayData overlay(disk);
    // What udev is waited for with, a semaphore, would outlive us.
    const GuardProcess guard([&kernel](const std::string&) { kernel.settle(); });
    if (options.deferred) {
        for (const DmInfo* device : devices_top_down(disk)) kernel.remove_when_unused(device->name);
    } else {
        wait_until_unused(disk, options, kernel);
        for (const DmInfo* device : devices_top_down(disk)) remove_with_patience(*device, options, kernel);
    }
    if (std::string note = kernel.settle(); !note.empty()) notes.push_back(std::move(note));
    if (options.deferred) return;
    // Of what a detach that was killed has removed before us.
    kernel.refresh_nodes(disk.device.name);
    wait_for_loops(disk, options, kernel, notes);
    overlay.write_to_disk(notes);
}

}  // namespace vmdkdm
