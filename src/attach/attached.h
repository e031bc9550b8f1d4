// What is attached, read from the kernel alone: our devices are known by their dm UUIDs, their files by
// following dm dependencies to the loops. There is no state file that could go stale.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/kernel.h"

namespace vmdkdm {

struct AttachedPartition {
    unsigned number = 0;
    DmInfo device;
    Sectors start;  ///< on the disk
    Sectors size;
    std::vector<std::string> mount_points;
};

/// A file or block device that the disk lies on.
struct AttachedLower {
    DeviceNumber device;
    std::optional<LoopInfo> loop;  ///< none for a block device that is used as it is
    bool exception_store = false;  ///< a file of ours in /run, not the image's
    bool overlay = false;          ///< where the disk's changes go
};

/// Where the changes of a writable disk go, and how full that is.
struct AttachedOverlay {
    LoopInfo loop;
    bool scratch = false;  ///< in memory; else in a file
    SnapshotState state = SnapshotState::usable;
    Bytes used;                 ///< of the limit, what describes the changes included; 0 when invalid
    Bytes limit;                ///< of the COW area
    std::optional<Bytes> room;  ///< what its file system, or the machine's memory, has left for it
};

/// How large the overlay can become: its limit, or less where its file system has less room.
Bytes reachable_limit(const AttachedOverlay& overlay);
/// How much of that is used; 100 for an overlay that is full or invalid.
unsigned percent_used(const AttachedOverlay& overlay);

enum class OverlayCondition {
    ok,
    low,         ///< more than the given percentage is used, or next to no room is left
    overflowed,  ///< writes fail
    invalid,     ///< nothing can be read until it is attached anew: a write to the file failed
};
OverlayCondition condition_of(const AttachedOverlay& overlay, unsigned low_percent);
/// "ok", "low", "overflow", "invalid"
std::string_view to_string(OverlayCondition condition);

inline constexpr unsigned default_low_percent = 90;

/// A device of ours below the disk.
struct AttachedInner {
    DmInfo device;
    int own_users = 0;  ///< devices of the same disk that lie on it
};

struct AttachedDisk {
    std::string id;
    DmInfo device;  ///< should the disk itself be gone: the topmost of what is left of it
    Sectors capacity;
    std::optional<bool> exposed;  ///< to udev's rules; none when udev knows nothing of the disk
    std::optional<std::string>
        image;  ///< path of the descriptor; none when nothing in the kernel leads to it
    std::vector<AttachedPartition> partitions;
    std::vector<AttachedInner> inner;  ///< each before what it lies on
    std::vector<AttachedLower> lowers;
    std::optional<AttachedOverlay> overlay;
    std::vector<std::string> mount_points;  ///< of a file system without a partition table
};

/// What has become of files of the disk since it was attached, for the user: of those that were cut short
/// there are zeros to be read, without any error, and those that were deleted are there until it is detached.
std::vector<std::string> notes_on_files(const AttachedDisk& disk, Kernel& kernel);

/// Disks of ours in the order of their names, what a killed attach left without a table included.
std::vector<AttachedDisk> list_attached(Kernel& kernel);

}  // namespace vmdkdm
