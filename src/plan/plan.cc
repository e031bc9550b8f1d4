#include "plan/plan.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "base/error.h"
#include "map/read.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

// libdevmapper refuses an ioctl of more than some 50 MB: 500,000 linear targets loaded, a million did not.
constexpr std::size_t max_table_lines = 500000;

Target target_for(const Content& content) {
    struct Choose {
        Target operator()(const Stored& stored) const {
            return LinearTarget{PlannedDevice{stored.file}, stored.sector};
        }
        Target operator()(const Zero&) const { return ZeroTarget{}; }
        Target operator()(const Unreadable&) const { return ErrorTarget{}; }
        Target operator()(const Compressed&) const {
            throw Error(ErrorKind::refused,
                        "it holds compressed grains, which this version cannot attach (map and info "
                        "read them)");
        }
    };
    return std::visit(Choose{}, content);
}

// dm refuses a linear target that is not aligned to the logical blocks of the device below.
bool aligned_to(const Table& table, std::uint32_t block_size) {
    const std::uint64_t sectors = block_size / sector_size;
    return std::all_of(table.lines().begin(), table.lines().end(), [sectors](const TableLine& line) {
        const auto* linear = std::get_if<LinearTarget>(&line.target);
        return line.start.count() % sectors == 0 && line.length.count() % sectors == 0 &&
               (linear == nullptr || linear->offset.count() % sectors == 0);
    });
}

// Each sector of the disk must have a sector of its own in a file.
void refuse_unless_purely_stored(const Table& table) {
    std::vector<std::pair<std::pair<std::uint32_t, Sectors>, Sectors>> used;  // file, first sector; sectors
    for (const TableLine& line : table.lines()) {
        const auto* linear = std::get_if<LinearTarget>(&line.target);
        if (linear == nullptr)
            throw Error(ErrorKind::refused,
                        concat("--in-place needs a purely flat image: in this one, ", line.length.count(),
                               " sectors from ", line.start.count(), " on are stored in no file"));
        used.push_back({{std::get<PlannedDevice>(linear->device).index, linear->offset}, line.length});
    }
    std::sort(used.begin(), used.end());
    for (std::size_t i = 1; i < used.size(); ++i) {
        const auto& [place, length] = used[i - 1];
        const auto& next = used[i].first;
        if (place.first == next.first && place.second + length > next.second)
            throw Error(ErrorKind::refused, "--in-place: two extents share sectors of a file");
    }
}

bool has_gpt_at(const BlockMap& map, std::uint64_t offset) {
    constexpr std::string_view signature = "EFI PART";
    std::array<char, signature.size()> found{};
    if (to_bytes(map.capacity()) < Bytes(offset + found.size())) return false;
    try {
        read_disk(map, Bytes(offset), std::as_writable_bytes(std::span(found)));
    } catch (const Error&) {
        return false;  // an unreadable run: then there is no GPT to be read either
    }
    return std::string_view(found.data(), found.size()) == signature;
}

std::string escape_concise(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == ',' || c == ';' || c == '\\') escaped += '\\';
        escaped += c;
    }
    return escaped;
}

}  // namespace

Plan make_plan(const BlockMap& map, const PlanOptions& options) {
    if (map.size() > max_table_lines)
        throw Error(ErrorKind::refused,
                    concat("the disk has ", map.size(), " runs, more than the ", max_table_lines,
                           " that one device-mapper table can hold here"));
    std::vector<TableLine> lines;
    lines.reserve(map.size());
    for (const Run& run : map) lines.push_back({run.start, run.length, target_for(run.content)});

    Plan plan{options.id,
              {},
              {options.name, disk_uuid(options.id), Table(std::move(lines))},
              !options.in_place,
              options.logical_sector_size,
              512};
    for (const MappedFile& mapped : map.files()) plan.lowers.push_back({mapped.file});
    if (options.in_place) refuse_unless_purely_stored(plan.disk.table);
    if (aligned_to(plan.disk.table, options.logical_sector_size))
        plan.loop_block_size = options.logical_sector_size;
    return plan;
}

std::string planned_device_name(const Plan& plan, PlannedDevice device) {
    if (!plan.lowers.at(device.index).needs_loop()) return plan.lowers[device.index].file->path();
    const auto loops = std::count_if(plan.lowers.begin(), plan.lowers.begin() + device.index,
                                     [](const LowerPlan& lower) { return lower.needs_loop(); });
    return concat("/dev/loop", loops);
}

std::string print_concise(const Plan& plan) {
    const auto namer = [&plan](PlannedDevice device) { return planned_device_name(plan, device); };
    std::string text = concat(escape_concise(plan.disk.name), ",", escape_concise(plan.disk.uuid), ",,",
                              plan.read_only ? "ro" : "rw");
    for (const TableLine& line : plan.disk.table.lines()) {
        text += concat(",", line.start.count(), " ", line.length.count(), " ", target_type(line.target));
        const std::string arguments = target_arguments(line.target, namer);
        if (!arguments.empty()) text += " " + escape_concise(arguments);
    }
    return text;
}

std::uint32_t sector_size_by_gpt(const BlockMap& map, std::uint32_t otherwise) {
    if (has_gpt_at(map, 512)) return 512;
    return has_gpt_at(map, 4096) ? 4096 : otherwise;
}

}  // namespace vmdkdm
