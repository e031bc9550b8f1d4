#include "stack/volume.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

class Surveyor {
  public:
    explicit Surveyor(Kernel& kernel) : kernel_(kernel) {
        for (DmInfo& device : kernel.list_devices()) {
            if (const auto own = parse_own_uuid(device.uuid);
                own && own->partition == 0 && own->layer.empty())
                disk_names_[own->id] = device.name;
            mapped_.emplace(device.device, std::move(device));
        }
    }

    Volume disk(const AttachedDisk& attached) {
        Volume volume;
        volume.name = attached.device.name;
        volume.path = kernel_.device_path(attached.device.name);
        volume.device = attached.device.device;
        volume.read_only = attached.device.read_only;
        look_into(volume);
        return volume;
    }

  private:
    void look_into(Volume& volume) {
        volume.size = to_bytes(kernel_.device_size(volume.device));
        volume.mount_points = kernel_.mount_points(volume.device);
        volume.content = content_of(volume);
        for (const UpperDevice& upper : kernel_.devices_above(volume.device)) {
            Volume child = classify(upper);
            look_into(child);
            volume.children.push_back(std::move(child));
        }
        std::sort(volume.children.begin(), volume.children.end(), [](const Volume& a, const Volume& b) {
            return std::pair(a.partition_number.value_or(0), a.device) <
                   std::pair(b.partition_number.value_or(0), b.device);
        });
    }

    std::optional<VolumeContent> content_of(const Volume& volume) {
        if (volume.size == Bytes(0)) return std::nullopt;
        try {
            return kernel_.probe_content(*kernel_.hold_device(volume.device));
        } catch (const Error&) {
            return std::nullopt;  // it has gone
        }
    }

    Volume classify(const UpperDevice& upper) {
        Volume volume;
        volume.kind = VolumeKind::other;
        volume.name = std::filesystem::path(upper.path).filename().string();
        volume.path = upper.path;
        volume.device = upper.device;
        volume.read_only = upper.read_only;
        if (const auto mapped = mapped_.find(upper.device); mapped != mapped_.end())
            classify_mapped(mapped->second, volume);
        else if (upper.partition)
            volume.kind = VolumeKind::partition;
        else if (upper.path.starts_with("/dev/md"))
            volume.kind = VolumeKind::array;
        return volume;
    }

    void classify_mapped(const DmInfo& device, Volume& volume) {
        if (const auto own = parse_own_uuid(device.uuid); own && own->partition != 0) {
            volume.kind = VolumeKind::partition;
            volume.partition_number = own->partition;
        } else if (const auto id = parse_logical_volume_uuid(device.uuid)) {
            volume.kind = VolumeKind::logical_volume;
            const std::string prefix = concat(disk_names_[*id], "-");
            if (device.name.starts_with(prefix))
                volume.name = parse_vg_lv(device.name.substr(prefix.size())).value_or(device.name);
        } else if (device.uuid.starts_with("LVM-")) {
            volume.kind = VolumeKind::logical_volume;
            volume.name = parse_vg_lv(device.name).value_or(device.name);
        } else if (device.uuid.starts_with("CRYPT-")) {
            volume.kind = VolumeKind::crypt;
        }
    }

    Kernel& kernel_;
    std::map<DeviceNumber, DmInfo> mapped_;
    std::map<std::string, std::string> disk_names_;  // by id
};

bool is_called(const Volume& volume, std::string_view wanted) {
    return volume.name == wanted || volume.path == wanted ||
           std::filesystem::path(volume.path).filename().string() == wanted ||
           (volume.partition_number && std::to_string(*volume.partition_number) == wanted);
}

void add_bottom_up(const Volume& volume, std::vector<const Volume*>& order) {
    // What lies on several devices comes behind the last of them.
    std::erase_if(order, [&](const Volume* other) { return other->device == volume.device; });
    order.push_back(&volume);
    for (const Volume& child : volume.children) add_bottom_up(child, order);
}

}  // namespace

std::string_view to_string(VolumeKind kind) {
    switch (kind) {
        case VolumeKind::disk:
            return "disk";
        case VolumeKind::partition:
            return "partition";
        case VolumeKind::logical_volume:
            return "logical volume";
        case VolumeKind::crypt:
            return "opened container";
        case VolumeKind::array:
            return "array";
        case VolumeKind::other:
            break;
    }
    return "device";
}

Volume survey(const AttachedDisk& disk, Kernel& kernel) { return Surveyor(kernel).disk(disk); }

const Volume* find_volume(const Volume& disk, std::string_view wanted) {
    if (wanted.empty()) return &disk;
    const Volume* found = nullptr;
    for (const Volume* volume : bottom_up(disk)) {
        if (!is_called(*volume, wanted)) continue;
        if (found != nullptr)
            throw Error(ErrorKind::usage, concat("'", wanted, "' may be ", found->path, " or ", volume->path,
                                                 " (give the path)"));
        found = volume;
    }
    return found;
}

std::vector<const Volume*> bottom_up(const Volume& disk) {
    std::vector<const Volume*> order;
    add_bottom_up(disk, order);
    return order;
}

}  // namespace vmdkdm
