#include "attach/attached.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "base/concat.h"
#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// As the kernel calls a file that memfd_create made.
constexpr std::string_view scratch_file_prefix = "/memfd:";

// A second's worth of writing to a fast disk.
constexpr Bytes little_room{64 << 20};

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
        if (!lower.loop || lower.exception_store || lower.overlay) continue;
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

// Our devices of one disk, and what each lies on.
struct Stack {
    std::optional<DmInfo> disk;
    std::vector<DmInfo> inner;
    std::optional<DmInfo> cow;  // one of them
    bool has_base = false;      // under an overlay
    std::map<DeviceNumber, std::vector<DeviceNumber>> lowers;
};

// Those above before those below.
void add_from_the_top(const DmInfo& device, const Stack& stack, std::vector<const DmInfo*>& order) {
    const auto place = std::find(order.begin(), order.end(), &device);
    if (place != order.end()) order.erase(place);
    order.push_back(&device);
    for (const DeviceNumber below : stack.lowers.at(device.device))
        for (const DmInfo& inner : stack.inner)
            if (inner.device == below) add_from_the_top(inner, stack, order);
}

int users_of(const DmInfo& device, const Stack& stack) {
    return static_cast<int>(std::count_if(stack.lowers.begin(), stack.lowers.end(), [&](const auto& entry) {
        return std::find(entry.second.begin(), entry.second.end(), device.device) != entry.second.end();
    }));
}

std::vector<const DmInfo*> from_the_top(const Stack& stack) {
    std::vector<const DmInfo*> order;
    if (stack.disk) add_from_the_top(*stack.disk, stack, order);
    for (const DmInfo& inner : stack.inner)
        if (users_of(inner, stack) == 0) add_from_the_top(inner, stack, order);
    return order;
}

// A COW device begins with its exception store.
std::optional<DeviceNumber> store_of(const Stack& stack, Kernel& kernel) {
    if (!stack.cow || !stack.cow->live_table) return std::nullopt;
    const TableLine first = kernel.live_table(stack.cow->name).lines().front();
    const auto* linear = std::get_if<LinearTarget>(&first.target);
    return linear == nullptr ? std::nullopt : std::optional(std::get<DeviceNumber>(linear->device));
}

// Of a disk that has an overlay, the device with the changes.
std::optional<DeviceNumber> overlay_of(const Stack& stack, Kernel& kernel) {
    if (!stack.has_base || !stack.disk || !stack.disk->live_table) return std::nullopt;
    const TableLine first = kernel.live_table(stack.disk->name).lines().front();
    const auto* snapshot = std::get_if<SnapshotTarget>(&first.target);
    if (snapshot == nullptr) return std::nullopt;
    const auto cow = std::get<DeviceNumber>(snapshot->cow);
    // Read page by page, it lies below a device of ours.
    const auto pages = stack.lowers.find(cow);
    return pages == stack.lowers.end() || pages->second.empty() ? cow : pages->second.front();
}

std::optional<AttachedOverlay> describe_overlay(const Stack& stack, const std::vector<AttachedLower>& lowers,
                                                Kernel& kernel) {
    const auto lower = std::find_if(lowers.begin(), lowers.end(),
                                    [](const AttachedLower& one) { return one.overlay && one.loop; });
    if (lower == lowers.end()) return std::nullopt;
    AttachedOverlay overlay;
    overlay.loop = *lower->loop;
    overlay.scratch = overlay.loop.backing_file.starts_with(scratch_file_prefix);
    const SnapshotStatus status = kernel.snapshot_status(stack.disk->name);
    overlay.state = status.state;
    overlay.limit = to_bytes(kernel.device_size(lower->device));
    overlay.used = status.state == SnapshotState::overflowed ? overlay.limit : to_bytes(status.used);
    overlay.room = kernel.room_for(overlay.loop);
    return overlay;
}

// What the stack lies on that is not of it.
std::vector<AttachedLower> lowers_of(const Stack& stack, const std::map<DeviceNumber, LoopInfo>& loops,
                                     Kernel& kernel) {
    std::set<DeviceNumber> numbers;
    for (const auto& [device, below] : stack.lowers) numbers.insert(below.begin(), below.end());
    for (const auto& [device, below] : stack.lowers) numbers.erase(device);
    const std::optional<DeviceNumber> store = store_of(stack, kernel);
    const std::optional<DeviceNumber> overlay = overlay_of(stack, kernel);
    std::vector<AttachedLower> lowers;
    for (const DeviceNumber number : numbers) {
        const auto loop = loops.find(number);
        lowers.push_back({number, loop == loops.end() ? std::nullopt : std::optional(loop->second),
                          number == store, number == overlay});
    }
    return lowers;
}

AttachedDisk describe_disk(const std::string& id, const Stack& stack,
                           const std::map<DeviceNumber, LoopInfo>& loops, Kernel& kernel) {
    AttachedDisk disk;
    disk.id = id;
    const std::vector<const DmInfo*> order = from_the_top(stack);
    disk.device = *order.front();
    for (const DmInfo* device : std::span(order).subspan(1))
        disk.inner.push_back({*device, users_of(*device, stack)});
    disk.capacity = kernel.device_size(disk.device.device);
    disk.exposed = kernel.is_exposed(disk.device);
    disk.mount_points = kernel.mount_points(disk.device.device);
    disk.lowers = lowers_of(stack, loops, kernel);
    disk.overlay = describe_overlay(stack, disk.lowers, kernel);
    disk.image = find_image(id, disk.lowers);
    return disk;
}

AttachedPartition describe_partition(unsigned number, const DmInfo& device, Kernel& kernel) {
    AttachedPartition partition;
    partition.number = number;
    if (device.live_table) {
        const Table table = kernel.live_table(device.name);
        partition.size = table.length();
        const TableLine first = table.lines().front();
        if (const auto* linear = std::get_if<LinearTarget>(&first.target)) partition.start = linear->offset;
    }
    partition.mount_points = kernel.mount_points(device.device);
    partition.device = device;
    return partition;
}

}  // namespace

std::vector<std::string> notes_on_files(const AttachedDisk& disk, Kernel& kernel) {
    std::vector<std::string> notes;
    const std::string path = kernel.device_path(disk.device.name);
    std::set<std::string> told;  // a file may be on several loops
    for (const AttachedLower& lower : disk.lowers) {
        // What was made without a name, in a directory or in memory, has not lost it.
        if (!lower.loop || lower.exception_store || lower.loop->backing_file.starts_with("/memfd:") ||
            lower.loop->backing_file.find("/#") != std::string::npos)
            continue;
        const std::string& file = lower.loop->backing_file;
        if (!told.insert(file).second) continue;
        if (lower.loop->missing > Bytes(0))
            notes.push_back(concat("'", file, "' has been cut short since ", path, " was attached: its last ",
                                   lower.loop->missing.count(),
                                   " bytes are gone, and a read that reaches into them ",
                                   lower.loop->direct_io ? "fails" : "gives zeros"));
        else if (file.ends_with(" (deleted)"))
            notes.push_back(concat("'", file.substr(0, file.size() - std::string_view(" (deleted)").size()),
                                   "' has been deleted or replaced since ", path,
                                   " was attached: what is shown is the old file, until it is detached"));
    }
    return notes;
}

Bytes reachable_limit(const AttachedOverlay& overlay) {
    const Bytes used = std::min(overlay.used, overlay.limit);
    return used + std::min(overlay.room.value_or(overlay.limit), overlay.limit - used);
}

unsigned percent_used(const AttachedOverlay& overlay) {
    const auto all = static_cast<double>(reachable_limit(overlay).count());
    if (overlay.state != SnapshotState::usable || all == 0) return 100;
    return static_cast<unsigned>(100 * static_cast<double>(overlay.used.count()) / all);
}

OverlayCondition condition_of(const AttachedOverlay& overlay, unsigned low_percent) {
    if (overlay.state == SnapshotState::invalid) return OverlayCondition::invalid;
    if (overlay.state == SnapshotState::overflowed) return OverlayCondition::overflowed;
    // A file system that is as good as full says little by percentages while the overlay is small.
    const bool next_to_no_room = overlay.room && *overlay.room < little_room &&
                                 overlay.limit > overlay.used && *overlay.room < overlay.limit - overlay.used;
    return next_to_no_room || percent_used(overlay) >= low_percent ? OverlayCondition::low
                                                                   : OverlayCondition::ok;
}

std::string_view to_string(OverlayCondition condition) {
    switch (condition) {
        case OverlayCondition::ok:
            return "ok";
        case OverlayCondition::low:
            return "low";
        case OverlayCondition::overflowed:
            return "overflow";
        case OverlayCondition::invalid:
            break;
    }
    return "invalid";
}

std::vector<AttachedDisk> list_attached(Kernel& kernel) {
    std::map<std::string, Stack> stacks;
    std::vector<std::pair<std::string, AttachedPartition>> partitions;
    for (const DmInfo& device : kernel.list_devices()) {
        const std::optional<OwnUuid> own = parse_own_uuid(device.uuid);
        if (!own) continue;
        try {
            if (own->partition != 0) {
                partitions.emplace_back(own->id, describe_partition(own->partition, device, kernel));
                continue;
            }
            const std::vector<DeviceNumber> lowers = kernel.dependencies(device.name);
            Stack& stack = stacks[own->id];
            stack.lowers[device.device] = lowers;
            if (own->layer.empty())
                stack.disk = device;
            else
                stack.inner.push_back(device);
            if (own->layer == cow_layer) stack.cow = device;
            if (own->layer == base_layer) stack.has_base = true;
        } catch (const Error& error) {
            // Somebody detached it since it was listed.
            if (error.kind() != ErrorKind::not_found) throw;
        }
    }
    if (stacks.empty()) return {};

    std::map<DeviceNumber, LoopInfo> loops;
    for (LoopInfo& loop : kernel.list_loops()) loops.emplace(loop.device, std::move(loop));
    std::map<std::string, AttachedDisk> by_id;
    for (const auto& [id, stack] : stacks) {
        try {
            by_id[id] = describe_disk(id, stack, loops, kernel);
        } catch (const Error& error) {
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
