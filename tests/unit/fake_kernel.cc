#include "fake_kernel.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <type_traits>

#include "base/concat.h"

namespace vmdkdm::test {

// An open descriptor. It knows its machine only as long as its process lives.
class FakeHold : public HeldDevice {
  public:
    FakeHold(FakeMachine& machine, unsigned number, DeviceNumber device)
        : machine_(machine), number_(number), device_(device) {}
    ~FakeHold() override { machine_.close_hold(number_); }
    int fd() const override { return -1; }
    DeviceNumber device() const { return device_; }

  private:
    FakeMachine& machine_;
    unsigned number_;
    DeviceNumber device_;
};

// The machine.

std::string FakeMachine::describe() const {
    std::string text;
    for (const auto& [number, loop] : loops)
        text += concat("loop", number, " on ", loop.config.file_path, "\n");
    for (const auto& [minor, device] : devices)
        text += concat("device ", device.name, " ", device.uuid, device.live ? "" : " without a table",
                       device.deferred_remove ? " to be removed" : "", "\n");
    for (const auto& [number, hold] : holds_) text += concat("open: ", to_string(hold.device), "\n");
    return text;
}

void FakeMachine::open_by(DeviceNumber device, Holder::Kind kind, const std::string& what) {
    users.push_back({device, {kind, what}});
    open(device);
}

void FakeMachine::close_user(const std::string& what) {
    const std::vector<User> before = std::exchange(users, {});
    for (const User& user : before)
        if (user.holder.what != what) users.push_back(user);
    for (const User& user : before)
        if (user.holder.what == what) close(user.device);
}

DeviceNumber FakeMachine::number_of(const std::string& device_name) const {
    for (const auto& [minor, device] : devices)
        if (device.name == device_name) return {dm_major, minor};
    throw std::logic_error("no device " + device_name);
}

FakeMachine::Device& FakeMachine::device(const std::string& name) { return find(name)->second; }

int FakeMachine::open_count(DeviceNumber number) const {
    const auto count = open_counts_.find(number);
    return count == open_counts_.end() ? 0 : count->second;
}

void FakeMachine::close(DeviceNumber number) {
    if (--open_counts_.at(number) > 0) return;
    if (number.major == loop_major) loops.erase(number.minor);
    if (number.major != dm_major) return;
    const auto device = devices.find(number.minor);
    if (device != devices.end() && device->second.deferred_remove) remove(device);
}

namespace {

std::set<DeviceNumber> lowers_of(const std::optional<Table>& table) {
    std::set<DeviceNumber> lowers;
    if (!table) return lowers;
    for (const TableLine& line : table->lines()) {
        if (const auto* linear = std::get_if<LinearTarget>(&line.target))
            lowers.insert(std::get<DeviceNumber>(linear->device));
        if (const auto* striped = std::get_if<StripedTarget>(&line.target))
            for (const LinearTarget& stripe : striped->stripes)
                lowers.insert(std::get<DeviceNumber>(stripe.device));
        if (const auto* snapshot = std::get_if<SnapshotTarget>(&line.target))
            for (const LowerDevice& lower : {snapshot->origin, snapshot->cow})
                lowers.insert(std::get<DeviceNumber>(lower));
    }
    return lowers;
}

}  // namespace

// A mapped device opens each device below it once, however many lines of its tables refer to it.
void FakeMachine::open_lowers_of(Device& device) {
    std::set<DeviceNumber> lowers = lowers_of(device.live);
    lowers.merge(lowers_of(device.loaded));
    const std::set<DeviceNumber> before = std::exchange(device.opened, lowers);
    for (const DeviceNumber lower : lowers)
        if (!before.contains(lower)) open(lower);
    for (const DeviceNumber lower : before)
        if (!lowers.contains(lower)) close(lower);
}

Sectors FakeMachine::size_of(DeviceNumber number) const {
    if (number.major == loop_major && loops.contains(number.minor)) return loops.at(number.minor).size;
    if (number.major == dm_major && devices.contains(number.minor) && devices.at(number.minor).live)
        return devices.at(number.minor).live->length();
    if (disks.contains(number)) return disks.at(number);
    throw system_error("table load", ENXIO);
}

bool FakeMachine::is_read_only(DeviceNumber number) const {
    if (number.major == loop_major) return loops.at(number.minor).config.read_only;
    if (number.major == dm_major) return devices.at(number.minor).live_read_only;
    return false;
}

std::uint32_t FakeMachine::block_size_of(DeviceNumber number) const {
    if (number.major == loop_major) return loops.at(number.minor).config.block_size;
    std::uint32_t largest = 512;
    if (number.major == dm_major)
        for (const DeviceNumber lower : devices.at(number.minor).opened)
            largest = std::max(largest, block_size_of(lower));
    return largest;
}

void FakeMachine::check_snapshot(const std::string& name, const SnapshotTarget& target,
                                 bool read_only) const {
    for (const LowerDevice& lower : {target.origin, target.cow})
        if (target.chunk.count() * sector_size % block_size_of(std::get<DeviceNumber>(lower)) != 0)
            throw system_error("table load", EINVAL);
    const DeviceNumber cow = std::get<DeviceNumber>(target.cow);
    if (size_of(cow) < target.chunk) throw system_error("table load", EINVAL);
    if (is_read_only(cow) && !read_only)
        throw std::logic_error(concat("a writable snapshot '", name, "' on a read-only COW device"));
}

void FakeMachine::check_table(const std::string& name, const Table& table, bool read_only) const {
    std::uint64_t largest_block = 1;
    for (const TableLine& line : table.lines()) {
        if (const auto* snapshot = std::get_if<SnapshotTarget>(&line.target))
            check_snapshot(name, *snapshot, read_only);
        const auto* linear = std::get_if<LinearTarget>(&line.target);
        if (linear == nullptr) continue;
        const DeviceNumber lower = std::get<DeviceNumber>(linear->device);
        const std::uint64_t block = block_size_of(lower) / sector_size;
        if (linear->offset + line.length > size_of(lower) || linear->offset.count() % block != 0 ||
            line.length.count() % block != 0)
            throw system_error("table load", EINVAL);
        if (is_read_only(lower) && !read_only)
            throw std::logic_error(concat("a writable table of '", name, "' over a read-only device"));
        largest_block = std::max(largest_block, block);
    }
    for (const TableLine& line : table.lines())
        if (line.start.count() % largest_block != 0 || line.length.count() % largest_block != 0)
            throw system_error("table load", EINVAL);
}

std::map<unsigned, FakeMachine::Device>::iterator FakeMachine::find(const std::string& name) {
    const auto found = std::find_if(devices.begin(), devices.end(),
                                    [&](const auto& entry) { return entry.second.name == name; });
    if (found == devices.end()) throw Error(ErrorKind::not_found, concat("'", name, "': no such device"));
    return found;
}

void FakeMachine::remove(std::map<unsigned, Device>::iterator device) {
    ++unsettled_events;
    const std::set<DeviceNumber> lowers = device->second.opened;
    devices.erase(device);
    for (const DeviceNumber lower : lowers) close(lower);
}

void FakeMachine::close_hold(unsigned hold) {
    const auto found = holds_.find(hold);
    if (found == holds_.end()) return;
    const DeviceNumber device = found->second.device;
    holds_.erase(found);
    close(device);
}

void FakeMachine::close_all_of(const void* process) {
    std::vector<unsigned> numbers;
    for (const auto& [number, hold] : holds_)
        if (hold.process == process) numbers.push_back(number);
    for (const unsigned number : numbers) close_hold(number);
}

// The process: every call is counted, and may fail or be the last.

void FakeKernel::enter(const std::string& name) {
    if (dead_) throw std::logic_error(concat("a dead process calls ", name));
    log_.push_back(name);
    if (calls() == die_before_) {
        die();
        throw Killed();
    }
    const bool fails = fail_at_ != 0 && (calls() == fail_at_ || (fail_all_after_ && calls() > fail_at_));
    if (fails) throw Error(fail_kind_, concat("call ", calls(), ", ", name, ", failed"));
}

void FakeKernel::leave() {
    if (calls() != die_after_) return;
    die();
    throw Killed();
}

void FakeKernel::die() {
    dead_ = true;
    machine_.close_all_of(this);
}

template <class Body>
auto FakeKernel::perform(const std::string& name, Body&& body) -> decltype(body()) {
    // Owners that unwind after the death still call; nothing reaches the kernel any more.
    if constexpr (std::is_void_v<decltype(body())>) {
        if (dead_) return;
        enter(name);
        body();
        leave();
    } else {
        enter(name);
        auto result = body();
        leave();
        return result;
    }
}

HeldDevicePtr FakeKernel::hold(DeviceNumber device) {
    const unsigned number = ++machine_.next_hold_;
    machine_.holds_[number] = {device, this};
    machine_.open(device);
    return std::make_unique<FakeHold>(machine_, number, device);
}

unsigned FakeKernel::free_loop(unsigned least) {
    return perform("free_loop", [&] {
        unsigned number = least;
        while (machine_.loops.contains(number)) ++number;
        return number;
    });
}

HeldDevicePtr FakeKernel::configure_loop(unsigned number, const LoopConfig& config) {
    return perform("configure_loop", [&] {
        if (machine_.loop_thieves > 0) {
            --machine_.loop_thieves;
            throw system_error(concat("cannot configure /dev/loop", number), EBUSY);
        }
        if (machine_.loops.contains(number))
            throw system_error(concat("cannot configure /dev/loop", number), EBUSY);
        FakeMachine::Loop loop{config, {}, {}};
        struct stat status = {};
        if (const auto known = machine_.sizes_.find(config.file_path); known != machine_.sizes_.end()) {
            loop.identity = known->second.first;
            loop.size = known->second.second;
        } else if (::fstat(config.file_fd, &status) == 0) {
            loop.identity = {status.st_dev, status.st_ino};
            loop.size = whole_sectors(Bytes(static_cast<std::uint64_t>(status.st_size)));
        } else {
            throw system_error(concat("cannot configure /dev/loop", number), EBADF);
        }
        loop.size = loop.size - whole_sectors(config.offset);
        if (machine_.refuses_direct_io) loop.config.direct_io = false;
        // The kernel has room for 63 bytes.
        if (loop.config.reference.size() > 63) loop.config.reference.clear();
        machine_.loops[number] = std::move(loop);
        ++machine_.unsettled_events;
        return hold({FakeMachine::loop_major, number});
    });
}

DeviceNumber FakeKernel::loop_device(const HeldDevice& loop) {
    return perform("loop_device", [&] { return dynamic_cast<const FakeHold&>(loop).device(); });
}

bool FakeKernel::loop_does_direct_io(const HeldDevice& loop) {
    return perform("loop_does_direct_io", [&] {
        return machine_.loops.at(dynamic_cast<const FakeHold&>(loop).device().minor).config.direct_io;
    });
}

std::vector<LoopInfo> FakeKernel::list_loops() {
    return perform("list_loops", [&] {
        std::vector<LoopInfo> infos;
        for (const auto& [number, loop] : machine_.loops)
            infos.push_back({{FakeMachine::loop_major, number},
                             concat("/dev/loop", number),
                             loop.config.file_path,
                             loop.config.reference,
                             loop.identity,
                             loop.config.read_only,
                             loop.config.direct_io,
                             /*autoclear=*/true,
                             /*missing=*/Bytes(0)});
        return infos;
    });
}

bool FakeKernel::is_still_bound(const LoopInfo& loop) {
    return perform("is_still_bound", [&] {
        const auto now = machine_.loops.find(loop.device.minor);
        return now != machine_.loops.end() && now->second.identity == loop.backing_identity;
    });
}

std::optional<Bytes> FakeKernel::room_for(const LoopInfo& loop) {
    return perform("room_for", [&]() -> std::optional<Bytes> {
        const auto room = machine_.rooms.find(loop.backing_file);
        return room == machine_.rooms.end() ? std::nullopt : std::optional(room->second);
    });
}

SnapshotStatus FakeKernel::snapshot_status(const std::string& name) {
    return perform("snapshot_status", [&] {
        machine_.find(name);
        return machine_.snapshot_status;
    });
}

DeviceNumber FakeKernel::create_device(const std::string& name, const std::string& uuid) {
    return perform("create_device", [&] {
        for (const auto& [minor, device] : machine_.devices)
            if (device.name == name || (!uuid.empty() && device.uuid == uuid))
                throw system_error("create", EBUSY);
        unsigned minor = 0;
        while (machine_.devices.contains(minor)) ++minor;
        FakeMachine::Device& device = machine_.devices[minor];
        device.name = name;
        device.uuid = uuid;
        return DeviceNumber{FakeMachine::dm_major, minor};
    });
}

HeldDevicePtr FakeKernel::hold_device(DeviceNumber number) {
    return perform("hold_device", [&] {
        const auto device = machine_.devices.find(number.minor);
        // The kernel adds the disk at the first load of a table.
        if (device == machine_.devices.end() || (!device->second.live && !device->second.loaded))
            throw system_error(concat("cannot open device ", to_string(number)), ENXIO);
        return hold(number);
    });
}

void FakeKernel::remove_when_unused(const std::string& name) {
    perform("remove_when_unused", [&] {
        const auto device = machine_.find(name);
        device->second.deferred_remove = true;
        if (machine_.open_count({FakeMachine::dm_major, device->first}) == 0) machine_.remove(device);
    });
}

void FakeKernel::cancel_deferred_removal(const std::string& name) {
    perform("cancel_deferred_removal", [&] { machine_.find(name)->second.deferred_remove = false; });
}

void FakeKernel::load_table(const std::string& name, const Table& table, bool read_only) {
    perform("load_table", [&] {
        const auto device = machine_.find(name);
        machine_.check_table(name, table, read_only);
        device->second.loaded = table;
        device->second.loaded_read_only = read_only;
        machine_.open_lowers_of(device->second);
    });
}

void FakeKernel::resume_device(const std::string& name, DeviceRole role) {
    perform("resume_device", [&] {
        FakeMachine::Device& device = machine_.find(name)->second;
        if (device.loaded) {
            device.live = std::exchange(device.loaded, std::nullopt);
            device.live_read_only = device.loaded_read_only;
        }
        machine_.open_lowers_of(device);
        device.role = role;
        device.read_ahead.reset();
        ++machine_.unsettled_events;
    });
}

void FakeKernel::set_read_ahead(const HeldDevice& device, Sectors distance) {
    perform("set_read_ahead", [&] {
        machine_.devices.at(dynamic_cast<const FakeHold&>(device).device().minor).read_ahead = distance;
    });
}

void FakeKernel::remove_device(const std::string& name) {
    perform("remove_device", [&] {
        const auto device = machine_.find(name);
        if (machine_.open_count({FakeMachine::dm_major, device->first}) > 0)
            throw system_error("remove", EBUSY);
        machine_.remove(device);
    });
}

std::vector<DmInfo> FakeKernel::list_devices() {
    return perform("list_devices", [&] {
        std::vector<DmInfo> infos;
        for (const auto& [minor, device] : machine_.devices) {
            const DeviceNumber number{FakeMachine::dm_major, minor};
            infos.push_back({device.name, device.uuid, number, machine_.open_count(number),
                             device.live.has_value(), device.live_read_only, device.deferred_remove});
        }
        return infos;
    });
}

std::optional<bool> FakeKernel::is_exposed(const DmInfo& device) {
    return perform("is_exposed", [&] {
        if (!machine_.udev_runs) return std::optional<bool>();
        const FakeMachine::Device& known = machine_.devices.at(device.device.minor);
        return std::optional(known.role == DeviceRole::exposed);
    });
}

std::vector<DeviceNumber> FakeKernel::dependencies(const std::string& name) {
    return perform("dependencies", [&] {
        const std::set<DeviceNumber> lowers = lowers_of(machine_.find(name)->second.live);
        return std::vector<DeviceNumber>(lowers.begin(), lowers.end());
    });
}

Sectors FakeKernel::device_size(DeviceNumber device) {
    return perform("device_size", [&] {
        try {
            return machine_.size_of(device);
        } catch (const Error&) {
            return Sectors(0);  // it is gone, or has no table yet
        }
    });
}

Table FakeKernel::live_table(const std::string& name) {
    return perform("live_table", [&] { return machine_.find(name)->second.live.value(); });
}

void FakeKernel::refresh_nodes(const std::string&) {
    perform("refresh_nodes", [] {});
}

void FakeKernel::require_node(const std::string& name, DeviceNumber device) {
    perform("require_node", [&] {
        if (machine_.nodes_are_missing || machine_.number_of(name) != device)
            throw Error(ErrorKind::system, concat("'", device_path(name), "' is not there"));
    });
}

std::string FakeKernel::settle() {
    // It never throws, so a process that dies here dies without a word, and one that fails gives a note.
    if (dead_) return {};
    std::string note = machine_.udev_note;
    try {
        perform("settle", [this] { machine_.unsettled_events = 0; });
    } catch (const Error& error) {
        note = error.what();
    } catch (const Killed&) {
    }
    return note;
}

PartitionTable FakeKernel::probe_partitions(const HeldDevice& disk, std::uint32_t) {
    return perform("probe_partitions", [&] {
        const DeviceNumber number = dynamic_cast<const FakeHold&>(disk).device();
        if (!machine_.devices.at(number.minor).live)
            throw std::logic_error("a disk without a table is probed");
        return PartitionTable{machine_.partitions, machine_.partitions_unreadable};
    });
}

std::optional<VolumeContent> FakeKernel::probe_content(const HeldDevice& device) {
    return perform("probe_content", [&]() -> std::optional<VolumeContent> {
        const DeviceNumber number = dynamic_cast<const FakeHold&>(device).device();
        const auto content = machine_.contents.find(machine_.devices.at(number.minor).name);
        return content == machine_.contents.end() ? std::nullopt : std::optional(content->second);
    });
}

std::vector<UpperDevice> FakeKernel::devices_above(DeviceNumber number) {
    return perform("devices_above", [&] {
        std::vector<UpperDevice> found;
        for (const auto& [minor, device] : machine_.devices)
            if (device.opened.contains(number))
                found.push_back(
                    {{FakeMachine::dm_major, minor}, device_path(device.name), false, device.live_read_only});
        return found;
    });
}

std::vector<Holder> FakeKernel::holders(DeviceNumber number) {
    return perform("holders", [&] {
        std::vector<Holder> found;
        for (const FakeMachine::User& user : machine_.users)
            if (user.device == number) found.push_back(user.holder);
        for (const auto& [minor, device] : machine_.devices)
            if (device.opened.contains(number))
                found.push_back({Holder::Kind::device, concat("dm device '", device.name, "'")});
        return found;
    });
}

std::vector<std::string> FakeKernel::mount_points(DeviceNumber number) {
    return perform("mount_points", [&] {
        std::vector<std::string> points;
        for (const FakeMachine::User& user : machine_.users)
            if (user.device == number && user.holder.kind == Holder::Kind::mount)
                points.push_back(user.holder.what);
        return points;
    });
}

std::vector<Holder> FakeKernel::writers(const File& file) {
    return perform("writers", [&] {
        const auto found = machine_.writers.find(file.path());
        return found == machine_.writers.end() ? std::vector<Holder>{} : found->second;
    });
}

void FakeKernel::pause_ms(unsigned milliseconds) {
    perform("pause_ms", [&] {
        machine_.paused_ms += milliseconds;
        if (machine_.on_pause) machine_.on_pause();
    });
}

void FakeKernel::throw_if_interrupted() {
    perform("throw_if_interrupted", [&] {
        if (machine_.interrupted) throw Error(ErrorKind::system, "interrupted");
    });
}

void FakeKernel::side_by_side(std::size_t count, const std::function<void(std::size_t)>& body) {
    for (std::size_t i = 0; i < count; ++i) body(i);
}

}  // namespace vmdkdm::test
