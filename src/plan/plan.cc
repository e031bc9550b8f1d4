#include "plan/plan.h"

#include <algorithm>
#include <array>

#include "base/concat.h"
#include "base/error.h"
#include "map/read.h"
#include "plan/exceptions.h"
#include "plan/names.h"
#include "plan/spread.h"

namespace vmdkdm {
namespace {

// So few lines load in no time: nothing else need be looked at.
constexpr std::size_t few_lines = 1000;

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
void refuse_unless_purely_stored(const BlockMap& map) {
    std::vector<std::pair<std::pair<FileIndex, Sectors>, Sectors>> used;  // file, first sector; sectors
    for (const Run& run : map) {
        const auto* stored = std::get_if<Stored>(&run.content);
        if (stored == nullptr)
            throw Error(ErrorKind::refused,
                        concat("--in-place needs a purely flat image: in this one, ", run.length.count(),
                               " sectors from ", run.start.count(), " on are stored in no file"));
        used.push_back({{stored->file, stored->sector}, run.length});
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

bool may_be_exceptions(const BlockMap& map, const PlanOptions& options) {
    if (options.in_place) return false;
    return options.strategy ? *options.strategy == Strategy::exceptions : map.size() > few_lines;
}

// Puts a Plan together, from below.
class Planner {
  public:
    Planner(const BlockMap& map, const PlanOptions& options)
        : map_(map),
          options_(options),
          spread_(map, options.in_place ? 1 : options.loops, [this](const File& file) {
              return file.kind() == FileKind::regular && !is_read_directly(file);
          }) {
        for (const MappedFile& mapped : map.files()) add_file(mapped.file);
        for (const FileIndex file : spread_.further()) add_file(map.files()[file].file);
        if (const auto& overlay = options.overlay) {
            overlay_ = PlannedDevice{static_cast<std::uint32_t>(lowers_.size())};
            lowers_.push_back({overlay->file, std::nullopt, /*read_only=*/false, overlay->offset,
                               overlay->size, is_read_directly(*overlay->file)});
        }
    }

    Plan linear(const Cost& cost, const std::optional<Cost>& alternative) && {
        LongTable lines;
        for (const Run& run : map_) spread_.append(lines, {run.start, run.length, target_for(run.content)});
        added_lines_ += lines.size() - map_.size();
        Table table = table_of("map", std::move(lines));
        if (options_.in_place) refuse_unless_purely_stored(map_);
        return finish(std::move(table), cost, alternative);
    }

    Plan exceptions(ExceptionLayout layout, const Cost& cost, const Cost& alternative) && {
        const std::uint64_t span = ExceptionStore::span_of(layout.chunk, layout.exceptions.size());
        lowers_.push_back({nullptr, ExceptionStore(layout.chunk, span, std::move(layout.exceptions))});
        const PlannedDevice store{static_cast<std::uint32_t>(lowers_.size() - 1)};

        const PlannedDevice origin =
            add_inner(origin_layer, table_of(origin_layer, spread(std::move(layout.origin))));
        const PlannedDevice cow = add_inner(cow_layer, cow_table(store, spread(std::move(layout.data))));
        Table snapshot({{Sectors(0), map_.capacity(),
                         SnapshotTarget{origin, cow, Persistence::persistent, layout.chunk}}});
        if (layout.direct.empty()) return finish(std::move(snapshot), cost, alternative);
        const PlannedDevice grains = add_inner(grains_layer, std::move(snapshot));
        return finish(table_of("map", filled(spread(std::move(layout.direct)), grains)), cost, alternative);
    }

  private:
    bool is_read_directly(const File& file) const { return options_.direct_io && options_.direct_io(file); }

    void add_file(const FilePtr& file) {
        lowers_.push_back({file, std::nullopt, !options_.in_place, Bytes(0), std::nullopt,
                           file->kind() == FileKind::regular && is_read_directly(*file)});
    }

    template <class Lines>
    Lines spread(Lines lines) {
        const std::size_t before = lines.size();
        lines = spread_.over(std::move(lines));
        added_lines_ += lines.size() - before;
        return lines;
    }

    // The direct lines, and between them the same sectors of `other`.
    LongTable filled(const TableLines& direct, PlannedDevice other) const {
        LongTable lines;
        const auto fill_up_to = [&](Sectors start) {
            const Sectors end = lines.end_of_last();
            if (end < start) lines.add({end, start - end, LinearTarget{other, end}});
        };
        for (const TableLine& line : direct) {
            fill_up_to(line.start);
            lines.add(line);
        }
        fill_up_to(map_.capacity());
        return lines;
    }

    Table cow_table(PlannedDevice store, const TableLines& data) const {
        const Sectors store_end = whole_sectors(lowers_[store.index].store->size());
        TableLines lines{{Sectors(0), store_end, LinearTarget{store, Sectors(0)}}};
        for (const TableLine& line : data) lines.add({store_end + line.start, line.length, line.target});
        return Table(std::move(lines));
    }

    // One table; or, where that would be too long, one over devices that have its pieces.
    Table table_of(std::string_view layer, LongTable lines) {
        std::vector<TableLines> pieces = std::move(lines).pieces();
        if (pieces.size() == 1) return Table(std::move(pieces.front()));
        TableLines joined;
        for (TableLines& piece : pieces) {
            Table table(std::move(piece));
            const Sectors length = table.length();
            const PlannedDevice device = add_inner(concat(layer, joined.size()), std::move(table));
            joined.add({joined.end_of_last(), length, LinearTarget{device, Sectors(0)}});
        }
        return Table(std::move(joined));
    }

    // After the last of lowers_ was added.
    PlannedDevice add_inner(std::string_view layer, Table table) {
        inner_.push_back({inner_name(options_.name, layer), inner_uuid(options_.id, layer), std::move(table),
                          !options_.in_place});
        return PlannedDevice{static_cast<std::uint32_t>(lowers_.size() + inner_.size() - 1)};
    }

    // The disk as a snapshot of what it would be without an overlay. A store that overflows: when there is no
    // room for another chunk, writes fail, and all that was written before can still be read.
    Table overlaid(Table disk) {
        const Sectors capacity = disk.length();
        const PlannedDevice base = add_inner(base_layer, std::move(disk));
        return Table({{Sectors(0), capacity,
                       SnapshotTarget{base, *overlay_, Persistence::overflow, options_.overlay->chunk}}});
    }

    Plan finish(Table disk, const Cost& cost, const std::optional<Cost>& alternative) {
        if (overlay_) disk = overlaid(std::move(disk));
        const bool read_only = !options_.in_place && !overlay_;
        Plan plan{options_.id,
                  std::move(lowers_),
                  std::move(inner_),
                  {options_.name, disk_uuid(options_.id), std::move(disk), read_only},
                  overlay_,
                  options_.logical_sector_size,
                  512,
                  cost_of(cost.strategy, cost.lines + added_lines_, cost.exceptions),
                  alternative};
        const std::vector<const DevicePlan*> devices = plan.devices();
        if (std::all_of(devices.begin(), devices.end(), [&](const DevicePlan* device) {
                return aligned_to(device->table, options_.logical_sector_size);
            }))
            plan.loop_block_size = options_.logical_sector_size;
        return plan;
    }

    const BlockMap& map_;
    const PlanOptions& options_;
    Spread spread_;
    std::size_t added_lines_ = 0;
    std::vector<LowerPlan> lowers_;
    std::vector<DevicePlan> inner_;
    std::optional<PlannedDevice> overlay_;
};

}  // namespace

std::vector<const DevicePlan*> Plan::devices() const {
    std::vector<const DevicePlan*> all;
    for (const DevicePlan& device : inner) all.push_back(&device);
    all.push_back(&disk);
    return all;
}

Plan make_plan(const BlockMap& map, const PlanOptions& options) {
    if (options.in_place && options.overlay)
        throw Error(ErrorKind::usage, "--in-place and an overlay exclude each other");
    Planner planner(map, options);
    const Cost linear = cost_of(Strategy::linear, map.size(), 0);
    std::optional<ExceptionLayout> layout;
    if (may_be_exceptions(map, options)) layout = lay_out_exceptions(map);
    if (options.strategy == Strategy::exceptions && (!layout || layout->exceptions.empty()))
        throw Error(ErrorKind::refused,
                    "--strategy exceptions: no run of the disk is short and aligned to 4 KiB (use linear)");
    if (!layout || layout->exceptions.empty()) return std::move(planner).linear(linear, std::nullopt);

    const Cost exceptions = cost_of(Strategy::exceptions, layout->origin.size() + 2 * layout->direct.size(),
                                    layout->exceptions.size());
    if (options.strategy == Strategy::exceptions || is_cheaper(exceptions, linear))
        return std::move(planner).exceptions(std::move(*layout), exceptions, linear);
    layout.reset();  // before as many lines are made again
    return std::move(planner).linear(linear, exceptions);
}

DeviceNamer planned_names(const Plan& plan) {
    std::vector<std::string> names;
    std::size_t loops = 0;
    for (const LowerPlan& lower : plan.lowers)
        names.push_back(lower.needs_loop() ? concat("/dev/loop", loops++) : lower.file->path());
    for (const DevicePlan& device : plan.inner) names.push_back(concat("/dev/mapper/", device.name));
    return [names = std::move(names)](PlannedDevice device) { return names.at(device.index); };
}

std::string print_concise(const Plan& plan) {
    const DeviceNamer namer = planned_names(plan);
    std::string text;
    for (const DevicePlan* device : plan.devices()) {
        text += concat(text.empty() ? "" : ";", escape_concise(device->name), ",",
                       escape_concise(device->uuid), ",,", device->read_only ? "ro" : "rw");
        for (const TableLine& line : device->table.lines()) {
            text += concat(",", line.start.count(), " ", line.length.count(), " ", target_type(line.target));
            const std::string arguments = target_arguments(line.target, namer);
            if (!arguments.empty()) text += " " + escape_concise(arguments);
        }
    }
    return text;
}

std::uint32_t sector_size_by_gpt(const BlockMap& map, std::uint32_t otherwise) {
    if (has_gpt_at(map, 512)) return 512;
    return has_gpt_at(map, 4096) ? 4096 : otherwise;
}

}  // namespace vmdkdm
