#include "attach/attached.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

bool is_file(const std::string& path, const FileIdentity& identity) {
    struct stat status = {};
    return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           status.st_dev == identity.device && status.st_ino == identity.inode;
}

struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

// The entry of `directory` that is the file; the inode number in the directory itself spares most stat calls.
std::optional<std::string> find_in_directory(const std::string& directory, const FileIdentity& identity) {
    const std::unique_ptr<DIR, CloseDirectory> open(::opendir(directory.c_str()));
    if (!open) return std::nullopt;
    while (const dirent* entry = ::readdir(open.get())) {
        if (entry->d_ino != identity.inode) continue;
        std::string path = (fs::path(directory) / entry->d_name).string();
        if (is_file(path, identity)) return path;
    }
    return std::nullopt;
}

// The kernel keeps no path of a descriptor, but it keeps what leads there: the reference that we gave the
// loops, and the paths of the extents, which lie in the descriptor's directory or below.
std::optional<std::string> find_image(const std::string& id, const std::vector<AttachedLower>& lowers) {
    const std::optional<FileIdentity> identity = parse_image_id(id);
    if (!identity) return std::nullopt;
    std::set<fs::path> directories;
    for (const AttachedLower& lower : lowers) {
        if (!lower.loop) continue;
        if (!lower.loop->reference.empty() && is_file(lower.loop->reference, *identity))
            return lower.loop->reference;
        for (fs::path up = fs::path(lower.loop->backing_file).parent_path(); !up.empty();
             up = up.parent_path())
            if (!directories.insert(up).second || up == up.root_path()) break;
    }
    for (auto directory = directories.rbegin(); directory != directories.rend(); ++directory)
        if (auto path = find_in_directory(directory->string(), *identity)) return path;
    return std::nullopt;
}

std::vector<AttachedLower> lowers_of(const DmInfo& device, const std::map<DeviceNumber, LoopInfo>& loops,
                                     Kernel& kernel) {
    std::vector<AttachedLower> lowers;
    for (const DeviceNumber number : kernel.dependencies(device.name)) {
        const auto loop = loops.find(number);
        lowers.push_back({number, loop == loops.end() ? std::nullopt : std::optional(loop->second)});
    }
    std::sort(lowers.begin(), lowers.end(),
              [](const AttachedLower& a, const AttachedLower& b) { return a.device < b.device; });
    return lowers;
}

AttachedDisk describe_disk(const std::string& id, const DmInfo& device,
                           const std::map<DeviceNumber, LoopInfo>& loops, Kernel& kernel) {
    AttachedDisk disk;
    disk.id = id;
    disk.device = device;
    if (device.live_table) disk.capacity = kernel.live_table(device.name).length();
    disk.mount_points = kernel.mount_points(device.device);
    disk.lowers = lowers_of(device, loops, kernel);
    disk.image = find_image(id, disk.lowers);
    return disk;
}

AttachedPartition describe_partition(unsigned number, const DmInfo& device, Kernel& kernel) {
    AttachedPartition partition;
    partition.number = number;
    if (device.live_table) {
        const Table table = kernel.live_table(device.name);
        partition.size = table.length();
        if (const auto* linear = std::get_if<LinearTarget>(&table.lines().front().target))
            partition.start = linear->offset;
    }
    partition.mount_points = kernel.mount_points(device.device);
    partition.device = device;
    return partition;
}

}  // namespace

std::vector<AttachedDisk> list_attached(Kernel& kernel) {
    std::map<DeviceNumber, LoopInfo> loops;
    std::map<std::string, AttachedDisk> by_id;
    std::vector<std::pair<std::string, AttachedPartition>> partitions;
    for (const DmInfo& device : kernel.list_devices()) {
        const std::optional<OwnUuid> own = parse_own_uuid(device.uuid);
        if (!own) continue;
        if (loops.empty())
            for (LoopInfo& loop : kernel.list_loops()) loops.emplace(loop.device, std::move(loop));
        try {
            if (own->partition == 0)
                by_id[own->id] = describe_disk(own->id, device, loops, kernel);
            else
                partitions.emplace_back(own->id, describe_partition(own->partition, device, kernel));
        } catch (const Error& error) {
            // Somebody detached it since it was listed.
            if (error.kind() != ErrorKind::not_found) throw;
        }
    }
    for (auto& [id, partition] : partitions)
        if (const auto disk = by_id.find(id); disk != by_id.end())
            disk->second.partitions.push_back(std::move(partition));

    std::vector<AttachedDisk> disks;
    for (auto& [id, disk] : by_id) {
        std::sort(disk.partitions.begin(), disk.partitions.end(),
                  [](const AttachedPartition& a, const AttachedPartition& b) { return a.number < b.number; });
        disks.push_back(std::move(disk));
    }
    std::sort(disks.begin(), disks.end(),
              [](const AttachedDisk& a, const AttachedDisk& b) { return a.device.name < b.device.name; });
    return disks;
}

}  // namespace vmdkdm
