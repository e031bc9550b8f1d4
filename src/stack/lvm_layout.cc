#include "stack/lvm_layout.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

using Json = nlohmann::json;

[[noreturn]] void fail(std::string_view what) {
    throw Error(ErrorKind::format, concat("lvm's report is not understood: ", what));
}

std::string text(const Json& row, const char* key) {
    const auto found = row.find(key);
    if (found == row.end() || !found->is_string()) fail(concat("no '", key, "'"));
    return found->get<std::string>();
}

std::uint64_t number(std::string_view digits) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || digits.empty())
        fail(concat("'", digits, "' is no number"));
    return value;
}

Sectors sectors(const Json& row, const char* key) { return Sectors(number(text(row, key))); }

const Json& rows(const Json& report, const char* key) {
    const auto found = report.find(key);
    if (found == report.end() || !found->is_array()) fail(concat("no '", key, "'"));
    return *found;
}

std::vector<std::string> split(const std::string& list) {
    std::vector<std::string> words;
    std::istringstream in(list);
    for (std::string word; std::getline(in, word, ',');) words.push_back(word);
    return words;
}

// "/dev/mapper/web1(0)"; a path of ours holds no comma and no parenthesis. Hidden volumes may be called
// anything.
LvmSegment::Area parse_area(const std::string& area) {
    const std::size_t open = area.rfind('(');
    if (open == std::string::npos || area.back() != ')') return {area, 0};
    const char* const end = area.data() + area.size() - 1;
    std::uint64_t extent = 0;
    const auto [rest, error] = std::from_chars(area.data() + open + 1, end, extent);
    if (error != std::errc() || rest != end) return {area, 0};
    return {area.substr(0, open), extent};
}

// lvm prints names as they stand on the disk. What is no JSON becomes what is, and no name all the same.
std::string as_json(std::string_view report) {
    std::string text(report);
    for (char& c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20) c = ' ';
        if (byte > 0x7e) c = '?';
    }
    return text;
}

LvmSegment parse_segment(const Json& row) {
    LvmSegment segment;
    segment.type = text(row, "segtype");
    segment.start = sectors(row, "seg_start");
    segment.size = sectors(row, "seg_size");
    segment.stripe_size = sectors(row, "stripe_size");
    for (const std::string& area : split(text(row, "devices"))) segment.areas.push_back(parse_area(area));
    return segment;
}

LvmVolume& volume_of(const Json& row, LvmGroup& group) {
    const std::string uuid = text(row, "lv_uuid");
    for (LvmVolume& volume : group.volumes)
        if (volume.uuid == uuid) return volume;
    std::string name = text(row, "lv_name");
    // lvm puts the names of hidden volumes into brackets.
    if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
    group.volumes.push_back({name,
                             uuid,
                             text(row, "lv_layout"),
                             text(row, "lv_role"),
                             text(row, "lv_permissions") == "read-only",
                             !text(row, "lv_merging").empty(),
                             {}});
    return group.volumes.back();
}

LvmGroup parse_group(const Json& report) {
    const Json& row = rows(report, "vg");
    if (row.size() != 1) fail("a report without its VG");
    LvmGroup group{
        text(row[0], "vg_name"), text(row[0], "vg_uuid"), sectors(row[0], "vg_extent_size"), {}, {}};
    for (const Json& pv : rows(report, "pv"))
        group.pvs.push_back({text(pv, "pv_name"), text(pv, "pv_uuid"), sectors(pv, "pe_start"),
                             !text(pv, "pv_missing").empty()});
    for (const Json& segment : rows(report, "seg"))
        volume_of(segment, group).segments.push_back(parse_segment(segment));
    std::sort(group.volumes.begin(), group.volumes.end(),
              [](const LvmVolume& a, const LvmVolume& b) { return a.name < b.name; });
    for (LvmVolume& volume : group.volumes)
        std::sort(volume.segments.begin(), volume.segments.end(),
                  [](const LvmSegment& a, const LvmSegment& b) { return a.start < b.start; });
    return group;
}

// Why a volume is not plain enough for us; empty when it is.
std::string not_plain(const LvmVolume& volume, bool read_only) {
    if (volume.layout != "linear" && volume.layout != "striped") return volume.layout;
    if (volume.merging) return "merging a snapshot";
    for (const std::string& role : split(volume.role)) {
        const bool is_origin = role == "origin" || role == "thickorigin" || role == "multithickorigin";
        if (role == "public" || (is_origin && read_only)) continue;
        return is_origin ? "origin of snapshots" : role;
    }
    for (const LvmSegment& segment : volume.segments)
        if (segment.type != "linear" && segment.type != "striped") return segment.type;
    return "";
}

class TableMaker {
  public:
    TableMaker(const LvmGroup& group, const PvFinder& find) : group_(group), find_(find) {}

    LvmTable make(const LvmVolume& volume) {
        TableLines lines;
        for (const LvmSegment& segment : volume.segments) {
            std::vector<LinearTarget> areas;
            const std::size_t count = segment.areas.size();
            if (count == 0 || segment.size.count() % count != 0)
                return {std::nullopt, "its layout is damaged", false};
            const Sectors share(segment.size.count() / count);
            for (const LvmSegment::Area& area : segment.areas)
                if (auto target = target_for(area, share)) areas.push_back(*target);
            if (!why_.empty()) return {std::nullopt, why_, needs_lvm_};
            if (count == 1)
                lines.add({segment.start, segment.size, areas.front()});
            else
                lines.add({segment.start, segment.size, StripedTarget{segment.stripe_size, areas}});
        }
        return {Table(std::move(lines)), "", false};
    }

  private:
    std::optional<LinearTarget> target_for(const LvmSegment::Area& area, Sectors size) {
        const auto pv = std::find_if(group_.pvs.begin(), group_.pvs.end(),
                                     [&](const LvmPv& other) { return other.path == area.pv; });
        if (pv == group_.pvs.end()) return cannot(concat("it lies on '", area.pv, "'"), true);
        const std::optional<LowerPv> lower = pv->missing ? std::nullopt : find_(pv->path);
        if (!lower) return cannot("a physical volume that it lies on is missing", false);
        const Sectors start =
            pv->first_extent + Sectors(checked_multiply(area.extent, group_.extent_size.count()));
        if (start + size > lower->size)
            return cannot(concat("it reaches beyond the end of ", pv->path), false);
        return LinearTarget{lower->device, start};
    }

    std::nullopt_t cannot(std::string why, bool needs_lvm) {
        why_ = std::move(why);
        needs_lvm_ = needs_lvm;
        return std::nullopt;
    }

    const LvmGroup& group_;
    const PvFinder& find_;
    std::string why_;
    bool needs_lvm_ = false;
};

}  // namespace

bool is_lvm_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.front() != '-' &&
           std::all_of(name.begin(), name.end(), [](unsigned char c) {
               return std::isalnum(c) != 0 ||
                      std::string_view("+_.-").find(static_cast<char>(c)) != std::string_view::npos;
           });
}

bool LvmVolume::is_public() const {
    const std::vector<std::string> roles = split(role);
    return std::find(roles.begin(), roles.end(), "public") != roles.end();
}

std::vector<std::string> lvm_report_words() {
    // One report for each VG, of five lists; two of them are not of interest, and are asked for nothing.
    return {"fullreport",
            "--reportformat",
            "json",
            "--units",
            "s",
            "--nosuffix",
            "--configreport",
            "vg",
            "-o",
            "vg_name,vg_uuid,vg_extent_size",
            "--configreport",
            "pv",
            "-o",
            "pv_name,pv_uuid,pe_start,pv_missing",
            "--configreport",
            "lv",
            "-o",
            "lv_uuid",
            "--configreport",
            "pvseg",
            "-o",
            "pvseg_start",
            "--configreport",
            "seg",
            "-o",
            concat("lv_name,lv_uuid,lv_layout,lv_role,lv_permissions,lv_merging,segtype,seg_start,seg_size,",
                   "stripe_size,devices")};
}

std::vector<LvmGroup> parse_lvm_report(std::string_view json) {
    std::vector<LvmGroup> groups;
    try {
        const Json document = Json::parse(as_json(json));
        for (const Json& report : rows(document, "report")) {
            const Json& vg = rows(report, "vg");
            // PVs without a VG are reported as a VG without a name.
            if (vg.empty() || text(vg[0], "vg_name").empty()) continue;
            groups.push_back(parse_group(report));
        }
    } catch (const Json::exception& error) {
        fail(error.what());
    }
    return groups;
}

LvmTable table_of(const LvmVolume& volume, const LvmGroup& group, const PvFinder& find, bool read_only) {
    if (!is_lvm_name(volume.name)) return {std::nullopt, "no volume can be called that", false};
    if (const std::string kind = not_plain(volume, read_only || volume.read_only); !kind.empty())
        return {std::nullopt, concat("it is ", kind), true};
    try {
        return TableMaker(group, find).make(volume);
    } catch (const Error&) {
        return {std::nullopt, "its layout is damaged", false};
    } catch (const UnitOverflow&) {
        return {std::nullopt, "its layout is damaged", false};
    }
}

}  // namespace vmdkdm
