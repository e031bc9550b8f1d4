// Everything that vmdk-dm asks of the kernel, one call at a time, behind one interface: attach, detach and
// list are written against it, and tests fail each call in turn through a fake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "dm/snapshot_status.h"
#include "dm/table.h"
#include "files/file.h"
#include "kernel/contents.h"

namespace vmdkdm {

/// A block device that is held open. The last close of a loop clears it (AUTOCLEAR), and that of a mapped
/// device with a pending removal removes it; so what a killed attach leaves goes by itself.
class HeldDevice {
  public:
    virtual ~HeldDevice() = default;
    virtual int fd() const = 0;
};
using HeldDevicePtr = std::unique_ptr<HeldDevice>;

struct LoopConfig {
    int file_fd = -1;
    std::string file_path;  ///< for messages
    std::string reference;  ///< kept as lo_file_name (63 bytes): the path of the image, for list
    bool read_only = true;
    bool direct_io = false;
    std::uint32_t block_size = 512;
    Bytes offset = Bytes(0);  ///< where in the file the device begins; it goes to the file's end
};

/// A loop device as the kernel describes it.
struct LoopInfo {
    DeviceNumber device;
    std::string node;          ///< "/dev/loop0"
    std::string backing_file;  ///< with " (deleted)" appended by the kernel when it is
    std::string reference;     ///< lo_file_name
    FileIdentity backing_identity;
    bool read_only = false;
    bool direct_io = false;
    bool autoclear = false;
    /// What the device shows beyond the end that its file has by now.
    Bytes missing = Bytes(0);
};

/// What a mapped device is there for, and so what udev's rules may do with it.
enum class DeviceRole {
    quarantined,  ///< a disk or partition: a node, but nobody looks into it who was not told to
    exposed,      ///< a disk or partition like any other of the host's
    inner,        ///< below a disk; its node is all there is of it
};

/// A mapped device as the kernel describes it.
struct DmInfo {
    std::string name;
    std::string uuid;
    DeviceNumber device;
    int open_count = 0;
    bool live_table = false;
    bool read_only = false;
    bool deferred_remove = false;
};

/// A partition that was found; units of 512 bytes, whatever the disk's logical sector.
struct Partition {
    unsigned number = 0;
    Sectors start;
    Sectors size;
    bool extended = false;
    std::string type;   ///< GPT: type UUID; MBR: "0x83"
    std::string label;  ///< GPT partition name, may be empty
    std::string uuid;   ///< partition UUID, may be empty
};

/// What was found on a disk where a partition table would be.
struct PartitionTable {
    std::vector<Partition> partitions;  ///< in the order of their numbers; none when there is no table
    std::string unreadable;             ///< why the disk could not be read there; else empty
};

/// Who uses a block device.
struct Holder {
    enum class Kind { mount, swap, device, process } kind = Kind::process;
    std::string what;  ///< "/mnt", "dm device 'vg-root'", "process 123 (dd)"
};

/// A device that lies on another one: a mapped device, an MD array, or a partition that the kernel made.
struct UpperDevice {
    DeviceNumber device;
    std::string path;  ///< "/dev/mapper/web-vg0-root", "/dev/md/web-data", "/dev/md127p1"
    bool partition = false;
    bool read_only = false;
};

/// Every call throws Error (system, busy, not_found) unless it says otherwise.
class Kernel {
  public:
    virtual ~Kernel() = default;

    // Loop devices.

    /// Number of a loop device that is free now; nothing reserves it. `least`: above the number that was
    /// given last, 0 for the first. Where the next ones have no nodes, as in a container, it may be a lower
    /// one.
    virtual unsigned free_loop(unsigned least) = 0;
    /// Binds and holds loop `number`, with AUTOCLEAR. Error busy: somebody else was faster.
    virtual HeldDevicePtr configure_loop(unsigned number, const LoopConfig& config) = 0;
    /// Which device that is: what was bound, and not what a name in /dev says now.
    virtual DeviceNumber loop_device(const HeldDevice& loop) = 0;
    /// Whether the loop really does direct I/O; the kernel drops the wish silently where it cannot.
    virtual bool loop_does_direct_io(const HeldDevice& loop) = 0;
    /// Every bound loop device.
    virtual std::vector<LoopInfo> list_loops() = 0;
    /// Whether the loop is still bound to the file that it was bound to when it was listed.
    virtual bool is_still_bound(const LoopInfo& loop) = 0;
    /// What the file system that holds the loop's file has left for it; of a file in memory, what memory is
    /// available. None when that cannot be told, as for a file in another mount namespace.
    virtual std::optional<Bytes> room_for(const LoopInfo& loop) = 0;

    // Mapped devices, by name.

    /// A new device without a table. Error busy: the name or the UUID exists.
    virtual DeviceNumber create_device(const std::string& name, const std::string& uuid) = 0;
    /// Opens a device that has had a table loaded.
    virtual HeldDevicePtr hold_device(DeviceNumber device) = 0;
    /// Removal as soon as nobody has the device open; at once when nobody has.
    virtual void remove_when_unused(const std::string& name) = 0;
    virtual void cancel_deferred_removal(const std::string& name) = 0;
    /// Loads a bound table, in place of one that was loaded and not resumed; `table` has no planned devices.
    virtual void load_table(const std::string& name, const Table& table, bool read_only) = 0;
    /// Makes the loaded table live and the node appear; the events are waited for by settle().
    virtual void resume_device(const std::string& name, DeviceRole role) = 0;
    /// How far a live device is read ahead of a sequential reader that uses the page cache.
    virtual void set_read_ahead(const HeldDevice& device, Sectors distance) = 0;
    virtual void remove_device(const std::string& name) = 0;
    virtual std::vector<DmInfo> list_devices() = 0;
    /// Whether udev's rules may look into the device; none when udev knows nothing of it.
    virtual std::optional<bool> is_exposed(const DmInfo& device) = 0;
    virtual std::vector<DeviceNumber> dependencies(const std::string& name) = 0;
    /// Of a block device; 0 for a mapped device without a table.
    virtual Sectors device_size(DeviceNumber device) = 0;
    virtual Table live_table(const std::string& name) = 0;
    /// Of a device that is one snapshot target.
    virtual SnapshotStatus snapshot_status(const std::string& name) = 0;
    /// Removes the nodes in /dev/mapper whose names begin with `prefix` and whose devices are gone.
    virtual void refresh_nodes(const std::string& prefix) = 0;
    /// Throws Error (system) when /dev/mapper/`name` is not there as `device`: nobody could open it.
    virtual void require_node(const std::string& name, DeviceNumber device) = 0;
    /// Waits, up to a deadline, until udev has dealt with what was made, bound or removed, and passed it on.
    /// Never throws; returns a note for the user when udev did not answer, else an empty text.
    virtual std::string settle() = 0;

    // What is on and around a device.

    virtual PartitionTable probe_partitions(const HeldDevice& disk, std::uint32_t logical_sector_size) = 0;
    /// What is on the device itself, by libblkid; none when it finds nothing.
    virtual std::optional<VolumeContent> probe_content(const HeldDevice& device) = 0;
    /// What lies directly on a block device, in the order of device numbers.
    virtual std::vector<UpperDevice> devices_above(DeviceNumber device) = 0;
    virtual std::vector<Holder> holders(DeviceNumber device) = 0;
    /// Mount points (of this mount namespace) of the file systems on `device`.
    virtual std::vector<std::string> mount_points(DeviceNumber device) = 0;
    /// Processes, loops and such that have the file open for writing or mapped writable.
    virtual std::vector<Holder> writers(const File& file) = 0;

    /// Whether udev makes the nodes and is waited for.
    virtual bool waits_for_udev() const = 0;
    /// Where udev is not waited for: whether one may hear of what is made here all the same, such as that of
    /// the machine around a container.
    virtual bool may_be_overheard() = 0;
    /// "/dev/mapper/NAME"
    virtual std::string device_path(const std::string& name) = 0;

    /// Lets others run before a retry.
    virtual void pause_ms(unsigned milliseconds) = 0;
    /// Throws Error (system) when the user has asked us to stop.
    virtual void throw_if_interrupted() = 0;
    /// Calls `body` with 0 to `count` - 1, with several of them at a time, so that they wait together for
    /// what the kernel lets each of them wait for. It may bind and ask loop devices, and
    /// throw_if_interrupted. Once one has thrown no further are begun; of what was thrown, the one with the
    /// lowest number is thrown when all have ended.
    virtual void side_by_side(std::size_t count, const std::function<void(std::size_t)>& body) = 0;
};

}  // namespace vmdkdm
