#include "attach/attach.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "attach/guard.h"
#include "attach/store_file.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "kernel/owners.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

// What an attach has built so far; undone newest first unless it is kept.
class Assembly {
  public:
    explicit Assembly(Kernel& kernel) : kernel_(kernel) {}
    Assembly(const Assembly&) = delete;
    Assembly& operator=(const Assembly&) = delete;
    ~Assembly() { undo(); }

    void add(std::vector<std::optional<LoopDevice>> loops) { loops_ = std::move(loops); }
    const MappedDevice& add(MappedDevice device) {
        devices_.push_back(std::make_unique<MappedDevice>(std::move(device)));
        kernel_.throw_if_interrupted();
        return *devices_.back();
    }

    void require_nodes() const {
        for (const auto& device : devices_) kernel_.require_node(device->name(), device->device());
    }

    void keep() {
        for (const auto& device : devices_) device->cancel_removal();
        leave_to_users();
    }

    // The marks that are left say what becomes of each device. What lies above is released first.
    void leave_to_users() {
        for (; !devices_.empty(); devices_.pop_back()) devices_.back()->release();
        loops_.clear();
    }

    // Returns what could not be undone; empty when the kernel is as it was.
    std::string undo() noexcept {
        std::string left;
        for (; !devices_.empty(); devices_.pop_back())
            if (!devices_.back()->remove()) left += concat(left.empty() ? "" : ", ", devices_.back()->name());
        loops_.clear();
        kernel_.settle();
        return left;
    }

  private:
    Kernel& kernel_;
    std::vector<std::optional<LoopDevice>> loops_;
    std::vector<std::unique_ptr<MappedDevice>> devices_;
};

// Returns the names that are taken.
std::set<std::string> refuse_clash(const Plan& plan, Kernel& kernel) {
    remove_debris(kernel, plan.id);
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

bool is_overlay(const LowerPlan& lower, const Plan& plan) {
    return plan.overlay && &lower == &plan.lowers.at(plan.overlay->index);
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

// The file with the store has no name: it goes with its loop device.
LoopDevice attach_store(const ExceptionStore& store, const Plan& plan, const AttachOptions& options,
                        Kernel& kernel, FreeLoops& free) {
    const UniqueFd file = write_store(store, options.run_dir);
    LoopConfig config;
    config.file_fd = file.get();
    config.file_path = options.run_dir;
    config.reference = options.image_path;
    config.block_size = plan.loop_block_size;
    return LoopDevice::attach(kernel, free, config);
}

bool is_open_for_writing(const File& file) { return (::fcntl(file.fd(), F_GETFL) & O_ACCMODE) == O_RDWR; }

LoopDevice attach_file(const LowerPlan& lower, const Plan& plan, const AttachOptions& options, Kernel& kernel,
                       FreeLoops& free) {
    UniqueFd writable;
    // An overlay's own descriptor goes to the loop device, with the lock that is on it.
    if (!lower.read_only && !is_open_for_writing(*lower.file)) {
        const std::string handle = concat("/proc/self/fd/", lower.file->fd());
        writable.reset(::open(handle.c_str(), O_RDWR | O_CLOEXEC));
        if (!writable)
            throw system_error(concat("cannot open '", lower.file->path(), "' for writing"), errno);
    }
    LoopConfig config;
    config.file_fd = writable ? writable.get() : lower.file->fd();
    config.file_path = lower.file->path();
    config.reference = options.image_path;
    config.read_only = lower.read_only;
    config.offset = lower.offset;
    config.direct_io = options.direct_io == DirectIo::on && !is_overlay(lower, plan);
    config.block_size = plan.loop_block_size;
    LoopDevice loop = LoopDevice::attach(kernel, free, config);
    if (config.direct_io && !kernel.loop_does_direct_io(loop.held()))
        throw Error(ErrorKind::refused, concat("the file system of '", config.file_path,
                                               "' does not allow direct I/O here (use --direct-io=auto)"));
    return loop;
}

LoopDevice attach_loop(const LowerPlan& lower, const Plan& plan, const AttachOptions& options, Kernel& kernel,
                       FreeLoops& free) {
    return lower.store ? attach_store(*lower.store, plan, options, kernel, free)
                       : attach_file(lower, plan, options, kernel, free);
}

// For each lower the first one of the same file.
std::vector<std::size_t> firsts_of(const std::vector<LowerPlan>& lowers) {
    std::map<const File*, std::size_t> first_of;
    std::vector<std::size_t> firsts;
    for (std::size_t i = 0; i < lowers.size(); ++i)
        firsts.push_back(lowers[i].file ? first_of.try_emplace(lowers[i].file.get(), i).first->second : i);
    return firsts;
}

// The loop device of each lower that needs one; but for those that a file would have beyond its first, where
// no more are to be had, as in a container that has the nodes of a few.
std::vector<std::optional<LoopDevice>> attach_loops(const Plan& plan, const std::vector<std::size_t>& firsts,
                                                    const AttachOptions& options, Kernel& kernel,
                                                    std::vector<std::string>& notes) {
    std::vector<std::optional<LoopDevice>> loops(plan.lowers.size());
    FreeLoops free(kernel);
    kernel.side_by_side(loops.size(), [&](std::size_t i) {
        if (!plan.lowers[i].needs_loop() || firsts[i] != i) return;
        loops[i] = attach_loop(plan.lowers[i], plan, options, kernel, free);
        kernel.throw_if_interrupted();
    });
    std::atomic<bool> are_there_more = true;
    std::string why_not;
    kernel.side_by_side(loops.size(), [&](std::size_t i) {
        if (!plan.lowers[i].needs_loop() || firsts[i] == i || !are_there_more) return;
        try {
            loops[i] = attach_loop(plan.lowers[i], plan, options, kernel, free);
        } catch (const Error& error) {
            if (are_there_more.exchange(false)) why_not = error.what();
        }
        kernel.throw_if_interrupted();
    });
    if (!are_there_more)
        notes.push_back(
            concat("there are fewer loop devices than would be of use, so reads may wait for each "
                   "other: ",
                   why_not));
    return loops;
}

// A block device is known by the device number that it stands for.
DeviceNumber device_number_of(const File& block_device) {
    const dev_t number = block_device.identity().device;
    return {major(number), minor(number)};
}

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
    const std::vector<std::size_t> firsts = firsts_of(plan.lowers);
    std::vector<std::optional<LoopDevice>> loops = attach_loops(plan, firsts, options, kernel, notes);
    std::vector<DeviceNumber> numbers;
    for (std::size_t i = 0; i < loops.size(); ++i) {
        // Every loop device of a file shows all of it.
        const std::optional<LoopDevice>& loop = loops[i] ? loops[i] : loops[firsts[i]];
        numbers.push_back(loop ? loop->device() : device_number_of(*plan.lowers[i].file));
    }
    built.add(std::move(loops));
    const auto make = [&](const DevicePlan& device, DeviceRole role) -> const MappedDevice& {
        return built.add(MappedDevice::create(kernel, device.name, device.uuid, device.table.bind(numbers),
                                              device.read_only, role));
    };
    for (const DevicePlan& device : plan.inner) numbers.push_back(make(device, DeviceRole::inner).device());
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
