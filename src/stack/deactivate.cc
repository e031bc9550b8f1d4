// Takes a stack down again, from the top.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "plan/names.h"
#include "stack/activate.h"
#include "stack/array.h"
#include "stack/hidden.h"
#include "stack/lvm.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_tries_ms = 20;
constexpr unsigned patience_ms = 5000;

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

// A volume above the disk, and what it lies on.
struct Upper {
    const Volume* volume;
    const Volume* below;
};

void add_uppers(const Volume& volume, std::vector<Upper>& uppers) {
    for (const Volume& child : volume.children) {
        if (child.kind != VolumeKind::partition) uppers.push_back({&child, &volume});
        add_uppers(child, uppers);
    }
}

std::vector<Upper> uppers_of(const Volume& disk) {
    std::vector<Upper> uppers;
    add_uppers(disk, uppers);
    return uppers;
}

class Deactivator {
  public:
    Deactivator(const AttachedDisk& disk, Kernel& kernel) : disk_(disk), kernel_(kernel) {
        for (const AttachedDisk& attached : list_attached(kernel))
            disk_names_.push_back(attached.device.name);
    }

    std::vector<std::string> run() {
        look();
        refuse_foreign();
        wait_until_unused();
        std::vector<std::string> removed;
        for (; !uppers_of(tree_).empty(); look()) remove_the_topmost(removed);
        return removed;
    }

  private:
    void look() {
        kernel_.settle();
        tree_ = survey(disk_, kernel_);
        mapped_.clear();
        for (DmInfo& device : kernel_.list_devices()) mapped_.emplace(device.device, std::move(device));
    }

    bool is_lvms(const Volume& volume) const {
        const auto device = mapped_.find(volume.device);
        return device != mapped_.end() && device->second.uuid.starts_with("LVM-");
    }

    // Named as activate names what it makes.
    bool is_ours(const Upper& upper) const {
        const Volume& volume = *upper.volume;
        const std::string name = file_name(volume.path);
        switch (volume.kind) {
            case VolumeKind::logical_volume:
                return true;
            case VolumeKind::crypt:
                // With integrity there is one more device between the two.
                return name.starts_with(file_name(upper.below->path) + "-crypt") || name.ends_with("-crypt");
            case VolumeKind::array:
                return volume.path.starts_with("/dev/md/") &&
                       std::any_of(disk_names_.begin(), disk_names_.end(),
                                   [&](const std::string& disk) { return name.starts_with(disk + "-"); });
            default:
                return is_lvms(volume);
        }
    }

    void refuse_foreign() const {
        for (const Upper& upper : uppers_of(tree_))
            if (!is_ours(upper))
                throw Error(ErrorKind::busy, concat(upper.below->path, " is in use: ", upper.volume->path,
                                                    ", which activate did not make"));
    }

    // Devices of the stack, and so also of this one, do not count; a process may be about to close it.
    void wait_until_unused() const {
        for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
            const std::optional<std::pair<std::string, bool>> user = some_user();
            if (!user) return;
            const bool may_go_by_itself = user->second;
            if (!may_go_by_itself || waited_ms >= patience_ms) throw Error(ErrorKind::busy, user->first);
            kernel_.pause_ms(pause_between_tries_ms);
        }
    }

    // What to say of it, and whether it is a process.
    std::optional<std::pair<std::string, bool>> some_user() const {
        for (const Upper& upper : uppers_of(tree_)) {
            std::vector<Holder> holders = kernel_.holders(upper.volume->device);
            std::erase_if(holders, [](const Holder& holder) { return holder.kind == Holder::Kind::device; });
            for (const Holder& holder : holders)
                return std::pair(concat(upper.volume->path, " is in use: ", holder.what),
                                 holder.kind == Holder::Kind::process);
        }
        for (const DmInfo& now : kernel_.list_devices())
            for (const Upper& upper : uppers_of(tree_))
                if (upper.volume->device == now.device && !is_lvms(*upper.volume) &&
                    now.open_count > static_cast<int>(upper.volume->children.size()))
                    return std::pair(
                        concat(upper.volume->path,
                               " is in use by something that cannot be named (a loop device, another "
                               "process namespace?)"),
                        true);
        return std::nullopt;
    }

    // Only what nothing lies on; the rest comes in the next rounds.
    void remove_the_topmost(std::vector<std::string>& removed) {
        std::set<DeviceNumber> seen;
        std::set<std::string> groups;
        bool any = false;
        for (const Upper& upper : uppers_of(tree_)) {
            const Volume& volume = *upper.volume;
            if (has_upper(volume) || !seen.insert(volume.device).second) continue;
            if (is_lvms(volume)) {
                groups.insert(volume.name.substr(0, volume.name.find('/')));
                continue;
            }
            remove(volume);
            removed.push_back(volume.path);
            any = true;
        }
        if (any) return;
        if (groups.empty())
            throw Error(ErrorKind::system,
                        concat("what lies on '", disk_.device.name, "' cannot be taken down"));
        for (const std::string& group : groups) take_down_group(group, removed);
    }

    // Partitions of an array go with it.
    static bool has_upper(const Volume& volume) {
        return std::any_of(volume.children.begin(), volume.children.end(), [](const Volume& child) {
            return child.kind != VolumeKind::partition || has_upper(child);
        });
    }

    void remove(const Volume& volume) {
        for (unsigned waited_ms = 0;; waited_ms += pause_between_tries_ms) {
            try {
                if (volume.kind == VolumeKind::array) return stop_array(volume.path);
                return kernel_.remove_device(file_name(volume.path));
            } catch (const Error& error) {
                if (error.kind() == ErrorKind::not_found && volume.kind != VolumeKind::array) return;
                if (error.kind() != ErrorKind::busy || waited_ms >= patience_ms) throw;
            }
            kernel_.pause_ms(pause_between_tries_ms);
        }
    }

    // A VG may lie on other disks of ours too.
    void take_down_group(const std::string& group, std::vector<std::string>& removed) {
        std::vector<std::string> pvs;
        std::vector<std::string> volumes;
        for (const AttachedDisk& disk : list_attached(kernel_)) {
            const Volume tree = survey(disk, kernel_);
            for (const Volume* volume : bottom_up(tree)) {
                if (volume->content && volume->content->type == "LVM2_member") pvs.push_back(volume->path);
                if (volume->kind == VolumeKind::logical_volume && volume->name.starts_with(group + "/"))
                    volumes.push_back(volume->path);
            }
        }
        Lvm(pvs, kernel_).deactivate(group);
        for (std::string& volume : volumes)
            if (std::find(removed.begin(), removed.end(), volume) == removed.end())
                removed.push_back(std::move(volume));
    }

    const AttachedDisk& disk_;
    Kernel& kernel_;
    std::vector<std::string> disk_names_;
    Volume tree_;
    std::map<DeviceNumber, DmInfo> mapped_;
};

}  // namespace

std::vector<std::string> deactivate(const AttachedDisk& disk, Kernel& kernel,
                                    std::vector<std::string>& notes) {
    std::vector<std::string> removed = Deactivator(disk, kernel).run();
    if (std::string note = kernel.settle(); !note.empty()) notes.push_back(std::move(note));
    drop_old_rules(kernel);
    return removed;
}

}  // namespace vmdkdm
