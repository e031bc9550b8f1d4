// The Kernel interface on Linux 5.8 or newer. The only code of the project that includes libdevmapper,
// libblkid and libudev; one file a subsystem: loops.cc, loop_events.cc, device_mapper.cc, partitions.cc,
// contents.cc, above.cc, holders.cc, overhearing.cc; side_by_side.cc.
#pragma once

#include "base/unique_fd.h"
#include "confine/shared_number.h"
#include "kernel/kernel.h"

namespace vmdkdm {

class LoopEvents;

enum class UdevUse {
    automatic,  ///< wait for udevd where one runs, make the nodes ourselves where none does
    off,        ///< leave udev alone (--no-udev), as in a container that sees the host's /run/udev
};

class LinuxKernel : public Kernel {
  public:
    explicit LinuxKernel(UdevUse udev);
    ~LinuxKernel() override;
    LinuxKernel(const LinuxKernel&) = delete;
    LinuxKernel& operator=(const LinuxKernel&) = delete;

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

    bool waits_for_udev() const override { return with_udev_; }
    bool may_be_overheard() override;
    std::string device_path(const std::string& name) override;
    void pause_ms(unsigned milliseconds) override;
    void throw_if_interrupted() override;
    void side_by_side(std::size_t count, const std::function<void(std::size_t)>& body) override;

  private:
    std::string wait_for_udev(std::uint32_t cookie, const std::vector<std::string>& nodes, LoopEvents* loops);

    bool with_udev_;
    // Of the events that settle() waits for; 0 = none. In memory that a child shares: a guard that outlives
    // us ends the wait in our stead, and the semaphore with it.
    SharedNumber cookie_;
    UniqueFd loop_control_;                    // once a loop was asked for
    std::unique_ptr<LoopEvents> loop_events_;  // from then on until settle(), where udev is waited for
    std::vector<std::string> awaited_nodes_;   // devices whose nodes udev was asked to make or remove
};

}  // namespace vmdkdm
