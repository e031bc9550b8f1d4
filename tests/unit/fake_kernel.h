// A machine whose kernel behaves as Linux does where it matters for attach, detach and list:
//   - a loop is AUTOCLEAR: it goes with its last user, be it a process or a mapped device,
//   - a mapped device cannot be opened before a table was loaded, nor removed while it is open; one that is
//     marked for deferred removal goes with its last user,
//   - names and UUIDs are unique; a writable table over a read-only device, a table that reaches beyond the
//   device
//     below or is not aligned to its blocks are refused,
//   - a process that dies closes what it holds, and nothing else.
//
// FakeMachine is the machine, FakeKernel one process on it, which can be made to fail or to die at its n-th
// call.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernel/kernel.h"

namespace vmdkdm::test {

class FakeMachine {
  public:
    struct Loop {
        LoopConfig config;
        FileIdentity identity;
        Sectors size;
    };
    struct Device {
        std::string name;
        std::string uuid;
        std::optional<Table> live;
        std::optional<Table> loaded;  // waits for a resume
        bool live_read_only = false;
        bool loaded_read_only = false;
        bool deferred_remove = false;
        std::set<DeviceNumber> opened;  // what its tables have open
        DeviceRole role = DeviceRole::quarantined;
        std::optional<Sectors> read_ahead;  // none: the kernel's own
    };
    /// Somebody else who has a device open: a mount, a process, a swap.
    struct User {
        DeviceNumber device;
        Holder holder;
    };

    // What the tests arrange.
    std::vector<Partition> partitions;                   ///< what a probe of any disk finds
    std::string partitions_unreadable;                   ///< why a probe of any disk fails; else empty
    std::map<std::string, VolumeContent> contents;       ///< what a probe finds, by name of the device
    std::vector<User> users;                             ///< close_user() and open_by() keep the rest in step
    std::map<std::string, std::vector<Holder>> writers;  ///< by path
    std::map<DeviceNumber, Sectors> disks;               ///< block devices that are neither loops nor mapped
    std::map<std::string, Bytes> rooms;                  ///< left for a loop's file, by its path
    SnapshotStatus snapshot_status;                      ///< of every snapshot
    unsigned loop_thieves = 0;  ///< how many more times another process takes the loop first
    bool refuses_direct_io = false;
    bool interrupted = false;
    bool nodes_are_missing = false;  ///< udev made none
    bool udev_runs = true;
    std::string udev_note;           ///< what settle() gives back
    std::function<void()> on_pause;  ///< runs at every pause_ms()

    // What the machine is like now.
    std::map<unsigned, Loop> loops;
    std::map<unsigned, Device> devices;  ///< by minor
    unsigned unsettled_events = 0;       ///< bindings, resumes and removals that nobody has waited for
    unsigned paused_ms = 0;

    /// Makes the size of a file known that is in memory; others are asked.
    void know(const File& file) { sizes_[file.path()] = {file.identity(), whole_sectors(file.size())}; }

    bool is_clean() const { return loops.empty() && devices.empty() && holds_.empty(); }
    std::string describe() const;  ///< one line an object, for messages

    void open_by(DeviceNumber device, Holder::Kind kind, const std::string& what);
    void close_user(const std::string& what);

    DeviceNumber number_of(const std::string& device_name) const;
    Device& device(const std::string& name);

  private:
    friend class FakeKernel;
    friend class FakeHold;

    static constexpr unsigned loop_major = 7;
    static constexpr unsigned dm_major = 254;

    int open_count(DeviceNumber number) const;
    void open(DeviceNumber number) { ++open_counts_[number]; }
    void close(DeviceNumber number);  // what this was the last user of, goes
    void open_lowers_of(Device& device);
    Sectors size_of(DeviceNumber number) const;
    bool is_read_only(DeviceNumber number) const;
    std::uint32_t block_size_of(DeviceNumber number) const;
    void check_snapshot(const std::string& name, const SnapshotTarget& target, bool read_only) const;
    void check_table(const std::string& name, const Table& table, bool read_only) const;
    std::map<unsigned, Device>::iterator find(const std::string& name);
    void remove(std::map<unsigned, Device>::iterator device);
    void close_hold(unsigned hold);
    void close_all_of(const void* process);

    struct Hold {
        DeviceNumber device;
        const void* process;
    };
    std::map<unsigned, Hold> holds_;
    std::map<DeviceNumber, int> open_counts_;
    unsigned next_hold_ = 0;
    std::map<std::string, std::pair<FileIdentity, Sectors>> sizes_;
};

/// Thrown where the process dies. No Error and no std::exception, so that nothing catches it on the way.
struct Killed {};

class FakeKernel : public Kernel {
  public:
    explicit FakeKernel(FakeMachine& machine) : machine_(machine) {}
    ~FakeKernel() override { machine_.close_all_of(this); }
    FakeKernel(const FakeKernel&) = delete;
    FakeKernel& operator=(const FakeKernel&) = delete;

    /// Call `number` (from 1) fails without effect; with `and_all_after`, so does everything after it.
    void fail_at(unsigned number, ErrorKind kind = ErrorKind::system, bool and_all_after = false) {
        fail_at_ = number;
        fail_kind_ = kind;
        fail_all_after_ = and_all_after;
    }
    /// The process dies as it enters call `number`, or when the kernel has carried that out.
    void die_before(unsigned number) { die_before_ = number; }
    void die_after(unsigned number) { die_after_ = number; }

    unsigned calls() const { return static_cast<unsigned>(log_.size()); }
    const std::vector<std::string>& log() const { return log_; }  ///< names of the calls made
    bool is_dead() const { return dead_; }

    unsigned free_loop(unsigned least) override;
    HeldDevicePtr configure_loop(unsigned number, const LoopConfig& config) override;
    DeviceNumber loop_device(const HeldDevice& loop) override;
    bool loop_does_direct_io(const HeldDevice& loop) override;
    std::vector<LoopInfo> list_loops() override;
    bool is_still_bound(const LoopInfo& loop) override;
    std::optional<Bytes> room_for(const LoopInfo& loop) override;

    DeviceNumber create_device(const std::string& name, const std::string& uuid) override;
    HeldDevicePtr hold_device(DeviceNumber device) override;
    void remove_when_unused(const std::string& name) override;
    void cancel_deferred_removal(const std::string& name) override;
    void load_table(const std::string& name, const Table& table, bool read_only) override;
    void resume_device(const std::string& name, DeviceRole role) override;
    void set_read_ahead(const HeldDevice& device, Sectors distance) override;
    void remove_device(const std::string& name) override;
    std::vector<DmInfo> list_devices() override;
    std::optional<bool> is_exposed(const DmInfo& device) override;
    std::vector<DeviceNumber> dependencies(const std::string& name) override;
    Sectors device_size(DeviceNumber device) override;
    Table live_table(const std::string& name) override;
    SnapshotStatus snapshot_status(const std::string& name) override;
    void refresh_nodes(const std::string& prefix) override;
    void require_node(const std::string& name, DeviceNumber device) override;
    std::string settle() override;

    PartitionTable probe_partitions(const HeldDevice& disk, std::uint32_t logical_sector_size) override;
    std::optional<VolumeContent> probe_content(const HeldDevice& device) override;
    std::vector<UpperDevice> devices_above(DeviceNumber device) override;
    std::vector<Holder> holders(DeviceNumber device) override;
    std::vector<std::string> mount_points(DeviceNumber device) override;
    std::vector<Holder> writers(const File& file) override;

    bool waits_for_udev() const override { return false; }
    bool may_be_overheard() override { return false; }
    std::string device_path(const std::string& name) override { return "/dev/mapper/" + name; }
    void pause_ms(unsigned milliseconds) override;
    void throw_if_interrupted() override;
    /// One after the other, so that calls have numbers.
    void side_by_side(std::size_t count, const std::function<void(std::size_t)>& body) override;

  private:
    template <class Body>
    auto perform(const std::string& name, Body&& body) -> decltype(body());
    void enter(const std::string& name);
    void leave();
    void die();
    HeldDevicePtr hold(DeviceNumber device);

    FakeMachine& machine_;
    std::vector<std::string> log_;
    unsigned fail_at_ = 0;
    ErrorKind fail_kind_ = ErrorKind::system;
    bool fail_all_after_ = false;
    unsigned die_before_ = 0;
    unsigned die_after_ = 0;
    bool dead_ = false;
};

}  // namespace vmdkdm::test
