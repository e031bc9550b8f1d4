// What will be made, before anything is: the loop devices, the mapped disk and its tables, and how the disk's
// sectors are to be read. Pure: printed by `vmdk-dm table`, carried out by attach/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dm/table.h"
#include "map/block_map.h"
#include "plan/exception_store.h"
#include "plan/strategy.h"

namespace vmdkdm {

/// What the mapped devices lie on. A regular file gets a loop device, and so does an exception store, once it
/// has been written to a file; a block device is used as it is.
struct LowerPlan {
    FilePtr file;  ///< none for a store
    std::optional<ExceptionStore> store;
    bool read_only = true;
    Bytes offset = Bytes(0);                   ///< where in the file the loop begins
    std::optional<Bytes> size = std::nullopt;  ///< of an overlay: from there to the file's end
    bool direct_io = false;                    ///< the loop device is to read the file past its page cache
    bool needs_loop() const { return store || file->kind() == FileKind::regular; }
};

/// Its lower devices are indexes into Plan::lowers and, after these, Plan::inner.
struct DevicePlan {
    std::string name;
    std::string uuid;
    Table table;
    bool read_only = true;
};

/// Where what is written to the disk goes, instead of to the image.
struct OverlayPlan {
    FilePtr file;
    Bytes offset;  ///< of the COW area in it
    Bytes size;    ///< of the COW area
    Sectors chunk;
};

struct Plan {
    std::string id;  ///< of the image, as in its devices' UUIDs
    std::vector<LowerPlan> lowers;
    std::vector<DevicePlan> inner;  ///< devices below the disk, in the order in which they are made
    DevicePlan disk;
    std::optional<PlannedDevice> overlay;     ///< which of `lowers` is the overlay
    std::uint32_t logical_sector_size = 512;  ///< 512 or 4096: how partition tables count
    std::uint32_t loop_block_size = 512;  ///< what the loop devices, and so the disk, offer as logical block
    Cost cost;                            ///< of this plan
    std::optional<Cost> alternative;      ///< of the other strategy that was looked at

    /// The disk and what is below it, in the order in which they are made.
    std::vector<const DevicePlan*> devices() const;
};

struct PlanOptions {
    std::string name;
    std::string id;
    bool in_place = false;  ///< writable; refused unless each sector has one of its own in a file
    std::uint32_t logical_sector_size = 512;  ///< 512 or 4096
    std::optional<Strategy> strategy;         ///< linear or exceptions; none: the cheaper one
    std::optional<OverlayPlan> overlay;       ///< writable, and the image stays as it is
    /// Which files are read past their page cache; none: no file is.
    std::function<bool(const File&)> direct_io;
    /// So many loop devices are dealt out to the other files by what the disk shows of each; not in place.
    unsigned loops = 1;
};

/// Throws Error (refused) for an in-place plan with a run that is not stored (dm-zero swallows writes) or
/// that shares sectors of its file with another, and for exceptions where no run is aligned to 4 KiB; (usage)
/// for a plan that is in place and has an overlay.
Plan make_plan(const BlockMap& map, const PlanOptions& options);

/// The devices as `dmsetup create --concise` and dm-mod.create= take them; loops are named /dev/loop0 and so
/// on.
std::string print_concise(const Plan& plan);

/// How planned devices are called where they have no number yet: "/dev/loop<n>" for the n-th loop of the plan
/// counted from 0, the path of a block device, "/dev/mapper/<name>".
DeviceNamer planned_names(const Plan& plan);

/// The logical sector size that the disk's own GPT speaks of: 4096 when "EFI PART" stands at byte 4096 and
/// not at 512, and `otherwise` when neither is there.
std::uint32_t sector_size_by_gpt(const BlockMap& map, std::uint32_t otherwise);

}  // namespace vmdkdm
