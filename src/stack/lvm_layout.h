// Where logical volumes lie, out of a report of lvm's, and the tables that show them. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dm/table.h"

namespace vmdkdm {

/// Whether lvm would give a volume or a group this name. What an image says is not lvm's.
bool is_lvm_name(std::string_view name);

/// Several stretches of physical volumes, by turns (stripes) or just one.
struct LvmSegment {
    struct Area {
        std::string pv;            ///< as in LvmGroup::pvs
        std::uint64_t extent = 0;  ///< first physical extent
    };
    std::string type;  ///< "linear", "striped", "thin", ...
    Sectors start;
    Sectors size;
    Sectors stripe_size;
    std::vector<Area> areas;
};

struct LvmVolume {
    std::string name;
    std::string uuid;
    std::string layout;  ///< "linear", "striped", "thin,sparse", ...
    std::string role;    ///< "public", "public,origin,thickorigin", "private,..."
    bool read_only = false;
    bool merging = false;  ///< a snapshot into it: what is on the PV is only a part of the truth
    std::vector<LvmSegment> segments;
    bool is_public() const;
};

struct LvmPv {
    std::string path;  ///< as lvm calls it; "[unknown]" when it is missing
    std::string uuid;
    Sectors first_extent;
    bool missing = false;
};

struct LvmGroup {
    std::string name;
    std::string uuid;
    Sectors extent_size;
    std::vector<LvmPv> pvs;
    std::vector<LvmVolume> volumes;
};

/// The words that make `lvm fullreport` print what parse_lvm_report() reads.
std::vector<std::string> lvm_report_words();

/// Throws Error (format) for anything that is not as expected.
std::vector<LvmGroup> parse_lvm_report(std::string_view json);

struct LowerPv {
    DeviceNumber device;
    Sectors size;
};
/// The device of a PV by the path that lvm calls it by; none when it is not one of those that are looked at.
using PvFinder = std::function<std::optional<LowerPv>(const std::string& path)>;

/// How a volume can be shown.
struct LvmTable {
    std::optional<Table> table;  ///< none: `why`
    std::string why;             ///< "it is thin", "a PV is missing", ...
    bool needs_lvm = false;      ///< nothing is missing, but only lvm itself can bring it up
};

/// A table for a linear or striped volume. An origin of snapshots is shown as it is when nobody will write
/// (`read_only`).
LvmTable table_of(const LvmVolume& volume, const LvmGroup& group, const PvFinder& find, bool read_only);

}  // namespace vmdkdm
