// What will be made, before anything is: the loop devices, the mapped disk and its table, and how the disk's
// sectors are to be read. Pure: printed by `vmdk-dm table`, carried out by attach/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dm/table.h"
#include "map/block_map.h"

namespace vmdkdm {

/// A lower device of the disk. A regular file gets a loop device; a block device is used as it is.
struct LowerPlan {
    FilePtr file;
    bool needs_loop() const { return file->kind() == FileKind::regular; }
};

struct DevicePlan {
    std::string name;
    std::string uuid;
    Table table;  ///< lower devices are indexes into Plan::lowers
};

struct Plan {
    std::string id;  ///< of the image, as in its devices' UUIDs
    std::vector<LowerPlan> lowers;
    DevicePlan disk;
    bool read_only = true;
    std::uint32_t logical_sector_size = 512;  ///< 512 or 4096: how partition tables count
    std::uint32_t loop_block_size = 512;  ///< what the loop devices, and so the disk, offer as logical block
};

struct PlanOptions {
    std::string name;
    std::string id;
    bool in_place = false;  ///< writable; refused unless each sector has one of its own in a file
    std::uint32_t logical_sector_size = 512;  ///< 512 or 4096
};

/// One line per run: the strategy for flat images. Throws Error (refused) for an in-place plan with a run
/// that is not stored (dm-zero swallows writes) or that shares sectors of its file with another.
Plan make_plan(const BlockMap& map, const PlanOptions& options);

/// The disk as `dmsetup create --concise` and dm-mod.create= take it; loops are named /dev/loop0 and so on.
std::string print_concise(const Plan& plan);

/// "/dev/loop<n>" for the n-th loop of the plan counted from 0, or the path of a block device.
std::string planned_device_name(const Plan& plan, PlannedDevice device);

/// The logical sector size that the disk's own GPT speaks of: 4096 when "EFI PART" stands at byte 4096 and
/// not at 512, and `otherwise` when neither is there.
std::uint32_t sector_size_by_gpt(const BlockMap& map, std::uint32_t otherwise);

}  // namespace vmdkdm
