#include "attach/attach.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "attach/assembly.h"
#include "attach/guard.h"
#include "attach/lowers.h"
#include "base/concat.h"
#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

// Returns the names that are taken.
std::set<std::string> refuse_clash(const Plan& plan, Kernel& kernel) {
    remove_remnants(kernel, plan.id);
    std::set<std::string> taken;
    for (const DmInfo& device : kernel.list_devices()) {
        if (const auto own = parse_own_uuid(device.uuid); own && own->id == plan.id)
            throw Error(ErrorKind::busy,
                        concat("it is attached already, as ", kernel.device_path(device.name)));
        taken.insert(device.name);
    }
    return taken;
}

void refuse_taken(const std::string& name, const std::set<std::string>& taken) {
    if (taken.contains(name))
        throw Error(ErrorKind::busy,
                    concat("the device name '", name, "' is taken (choose another with --name)"));
}

// Two snapshots on one COW area destroy it. The lock on the file says the same, where its file system has
// locks.
void refuse_shared_overlay(const Plan& plan, Kernel& kernel) {
    if (!plan.overlay) return;
    const File& file = *plan.lowers.at(plan.overlay->index).file;
    for (const LoopInfo& loop : kernel.list_loops())
        if (loop.backing_identity == file.identity())
            throw Error(ErrorKind::busy, concat("the overlay '", file.path(), "' is in use by ", loop.node,
                                                " (see vmdk-dm list)"));
}

// As many as the kernel makes of one disk. A table has room for thousands, and each is a device.
constexpr std::size_t most_partitions = 256;

// A foreign table may say anything: what does not lie on the disk is left out or cut, as the kernel does.
std::vector<Partition> fitting(std::vector<Partition> found, Sectors capacity,
                               std::uint32_t logical_sector_size, std::vector<std::string>& notes) {
    std::vector<Partition> kept;
    for (Partition& partition : found) {
        if (partition.start >= capacity || partition.size == Sectors(0)) {
            notes.push_back(
                concat("partition ", partition.number, " lies beyond the end of the disk and is left out"));
            continue;
        }
        if (partition.size > capacity - partition.start) {
            notes.push_back(
                concat("partition ", partition.number, " reaches beyond the end of the disk and is cut"));
            partition.size = capacity - partition.start;
        }
        // The kernel shows an extended partition as its first two sectors: enough for a boot loader, and
        // nobody takes it for a place to put a file system.
        const Sectors extended_size(std::max<std::uint64_t>(2, logical_sector_size / sector_size));
        if (partition.extended) partition.size = std::min(partition.size, extended_size);
        kept.push_back(std::move(partition));
    }
    if (kept.size() > most_partitions) {
        notes.push_back(concat("the disk has ", kept.size(), " partitions; the last ",
                               kept.size() - most_partitions, " are left out (at most ", most_partitions,
                               " of a disk are shown)"));
        kept.resize(most_partitions);
    }
    return kept;
}

DeviceRole role_of(const AttachOptions& options) {
    return options.exposed ? DeviceRole::exposed : DeviceRole::quarantined;
}

// A disk that stands, as far as its partitions are concerned.
struct StandingDisk {
    std::string name;
    std::string id;
    DeviceNumber device;
    const HeldDevice& held;
    Sectors capacity;
    std::uint32_t logical_sector_size;
    bool read_only;
    std::map<unsigned, std::string> partition_names;  // of the partitions that have a device, by number
};

void make_partitions(const StandingDisk& disk, const AttachOptions& options,
                     const std::set<std::string>& taken, Kernel& kernel, Assembly& built,
                     AttachResult& result, std::vector<std::string>& notes) {
    PartitionTable found = kernel.probe_partitions(disk.held, disk.logical_sector_size);
    if (!found.unreadable.empty())
        notes.push_back(concat("the partition table cannot be read (", found.unreadable,
                               "), so there are no partitions (see --no-partitions)"));
    for (Partition& partition :
         fitting(std::move(found.partitions), disk.capacity, disk.logical_sector_size, notes)) {
        const auto standing = disk.partition_names.find(partition.number);
        const std::string name =
            standing != disk.partition_names.end()
                ? standing->second
                : partition_name(disk.name, partition.number, options.partition_delimiter);
        if (standing == disk.partition_names.end()) {
            refuse_taken(name, taken);
            const Table table({{Sectors(0), partition.size, LinearTarget{disk.device, partition.start}}});
            built.add(MappedDevice::create(kernel, name, partition_uuid(disk.id, partition.number), table,
                                           disk.read_only, role_of(options)));
        }
        result.partitions.push_back({std::move(partition), kernel.device_path(name)});
    }
}

const MappedDevice& make_disk(const Plan& plan, const AttachOptions& options, Kernel& kernel, Assembly& built,
                              std::vector<std::string>& notes) {
    std::vector<DevicePlace> places = make_lowers(plan, options, kernel, built, notes);
    const auto make = [&](const DevicePlan& device, DeviceRole role) -> const MappedDevice& {
        return built.add(MappedDevice::create(kernel, device.name, device.uuid, device.table.bind(places),
                                              device.read_only, role));
    };
    for (const DevicePlan& device : plan.inner)
        places.push_back({make(device, DeviceRole::inner).device(), Sectors(0)});
    return make(plan.disk, role_of(options));
}

void wait_until_it_stands(Kernel& kernel, const Assembly& built, std::vector<std::string>& notes) {
    if (std::string note = kernel.settle(); !note.empty()) notes.push_back(std::move(note));
    built.require_nodes();
    kernel.throw_if_interrupted();
}

AttachResult build(const Plan& plan, const AttachOptions& options, Kernel& kernel, Assembly& built,
                   std::vector<std::string>& notes) {
    const std::set<std::string> taken = refuse_clash(plan, kernel);
    for (const DevicePlan* device : plan.devices()) refuse_taken(device->name, taken);
    for (const std::string_view layer : {pages_layer, overlay_pages_layer})
        refuse_taken(inner_name(plan.disk.name, layer), taken);
    refuse_shared_overlay(plan, kernel);
    const MappedDevice& disk = make_disk(plan, options, kernel, built, notes);
    AttachResult result{kernel.device_path(disk.name()), {}};
    if (options.partitions)
        make_partitions({disk.name(),
                         plan.id,
                         disk.device(),
                         disk.held(),
                         plan.disk.table.length(),
                         plan.logical_sector_size,
                         plan.disk.read_only,
                         {}},
                        options, taken, kernel, built, result, notes);
    wait_until_it_stands(kernel, built, notes);
    return result;
}

// It may go at any moment, until we hold it: what holds it now may be a mount that somebody undoes.
HeldDevicePtr hold(const AttachedDisk& disk, Kernel& kernel) {
    HeldDevicePtr held;
    std::optional<Error> failure;
    try {
        held = kernel.hold_device(disk.device.device);
    } catch (const Error& error) {
        failure = error;
        kernel.pause_ms(20);  // one that is going cannot be opened, and is listed for an instant more
    }
    for (const DmInfo& device : kernel.list_devices())
        if (device.device == disk.device.device && device.uuid == disk.device.uuid) {
            if (failure) throw *failure;
            return held;
        }
    throw Error(ErrorKind::not_found,
                concat(kernel.device_path(disk.device.name), " has just been detached"));
}

AttachResult build_partitions(const AttachedDisk& disk, const HeldDevice& held,
                              std::uint32_t logical_sector_size, const AttachOptions& options, Kernel& kernel,
                              Assembly& built, std::vector<std::string>& notes) {
    std::set<std::string> taken;
    for (const DmInfo& device : kernel.list_devices()) taken.insert(device.name);
    std::map<unsigned, std::string> partition_names;
    for (const AttachedPartition& partition : disk.partitions)
        partition_names[partition.number] = partition.device.name;
    AttachResult result{kernel.device_path(disk.device.name), {}};
    make_partitions({disk.device.name, disk.id, disk.device.device, held, disk.capacity, logical_sector_size,
                     disk.device.read_only, partition_names},
                    options, taken, kernel, built, result, notes);
    wait_until_it_stands(kernel, built, notes);
    return result;
}

// What `body` gives; when it throws, all is undone first, and what cannot be is named.
template <class Body>
AttachResult or_undo(Assembly& built, Body&& body) {
    try {
        return body();
    } catch (const Error& error) {
        const std::string left = built.undo();
        if (left.empty()) throw;
        throw Error(error.kind(), concat(error.what(), " (", left,
                                         " could not be removed yet; it goes with its last user)"));
    }
}

}  // namespace

class Attachment::Impl {
  public:
    explicit Impl(Kernel& kernel) : built(kernel) {}
    HeldDevicePtr held_disk;  // that somebody else attached
    Assembly built;
    AttachResult result;
};

Attachment::Attachment(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Attachment::Attachment(Attachment&&) noexcept = default;
Attachment::~Attachment() = default;

const AttachResult& Attachment::result() const { return impl_->result; }
void Attachment::keep() { impl_->built.keep(); }
void Attachment::leave_to_users() { impl_->built.leave_to_users(); }

AttachResult attach(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes) {
    Assembly built(kernel);
    return or_undo(built, [&] {
        AttachResult result = build(plan, options, kernel, built, notes);
        if (options.before_keep) options.before_keep();
        built.keep();
        return result;
    });
}

Attachment attach_for_the_moment(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                                 std::vector<std::string>& notes) {
    auto impl = std::make_unique<Attachment::Impl>(kernel);
    impl->result = or_undo(impl->built, [&] { return build(plan, options, kernel, impl->built, notes); });
    return Attachment(std::move(impl));
}

Attachment attach_partitions(const AttachedDisk& disk, std::uint32_t logical_sector_size,
                             const AttachOptions& options, Kernel& kernel, std::vector<std::string>& notes) {
    auto impl = std::make_unique<Attachment::Impl>(kernel);
    impl->held_disk = hold(disk, kernel);
    impl->result = or_undo(impl->built, [&] {
        return build_partitions(disk, *impl->held_disk, logical_sector_size, options, kernel, impl->built,
                                notes);
    });
    return Attachment(std::move(impl));
}

}  // namespace vmdkdm
