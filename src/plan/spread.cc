#include "plan/spread.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace vmdkdm {
namespace {

// A sequential reader finds what was read ahead for it on one loop for as long.
constexpr std::uint64_t shortest_stretch = (16 << 20) / sector_size;

// So many lines of a table load in no time. What the disk shows of a file twice counts twice.
constexpr std::uint64_t most_stretches = 256;

// How many sectors of each file the disk shows; 0 where that does not matter.
std::vector<std::uint64_t> shown_of_files(const BlockMap& map,
                                          const std::function<bool(const File&)>& matters) {
    std::vector<std::uint64_t> shown(map.files().size());
    for (const Run& run : map)
        if (const auto* stored = std::get_if<Stored>(&run.content)) shown[stored->file] += run.length.count();
    for (FileIndex file = 0; file < shown.size(); ++file)
        if (!matters(*map.files()[file].file)) shown[file] = 0;
    return shown;
}

std::uint64_t rounded_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

Spread::Spread(const BlockMap& map, unsigned loops, const std::function<bool(const File&)>& may_have_several)
    : shares_(map.files().size()) {
    if (loops < 2) return;
    const std::vector<std::uint64_t> shown = shown_of_files(map, may_have_several);
    const std::uint64_t all = std::accumulate(shown.begin(), shown.end(), std::uint64_t{0});
    for (FileIndex file = 0; file < shown.size(); ++file) {
        if (shown[file] < 2 * shortest_stretch) continue;
        const std::uint64_t stretch = rounded_up(shown[file] / most_stretches + 1, shortest_stretch);
        const std::uint64_t whole = whole_sectors(map.files()[file].file->size()).count();
        const std::uint64_t count =
            std::min(loops * shown[file] / all, std::min(shown[file], whole) / stretch);
        if (count < 2) continue;
        shares_[file] = {static_cast<std::uint32_t>(count),
                         static_cast<std::uint32_t>(shares_.size() + further_.size()), stretch};
        further_.insert(further_.end(), count - 1, file);
    }
}

const Spread::Share* Spread::share_of(const TableLine& line) const {
    if (further_.empty()) return nullptr;
    const auto* linear = std::get_if<LinearTarget>(&line.target);
    const auto* planned = linear != nullptr ? std::get_if<PlannedDevice>(&linear->device) : nullptr;
    if (planned == nullptr || planned->index >= shares_.size()) return nullptr;
    const Share& share = shares_[planned->index];
    return share.loops > 1 ? &share : nullptr;
}

TableLine Spread::piece_of(const TableLine& line, Sectors done, const Share& share) {
    const auto& linear = std::get<LinearTarget>(line.target);
    const Sectors at = linear.offset + done;
    const Sectors left(share.stretch - at.count() % share.stretch);
    const auto turn = static_cast<std::uint32_t>(at.count() / share.stretch % share.loops);
    const LowerDevice loop = turn == 0 ? linear.device : PlannedDevice{share.second + turn - 1};
    return {line.start + done, std::min(left, line.length - done), LinearTarget{loop, at}};
}

TableLines Spread::over(TableLines lines) const {
    if (further_.empty()) return lines;
    TableLines spread;
    spread.reserve(lines.size() + most_stretches);
    for (const TableLine& line : lines) append(spread, line);
    return spread;
}

LongTable Spread::over(LongTable lines) const {
    if (further_.empty()) return lines;
    LongTable spread;
    Sectors start;
    for (const TableLines& piece : std::move(lines).pieces()) {
        for (TableLine line : piece) {
            line.start += start;
            append(spread, line);
        }
        start += piece.end_of_last();
    }
    return spread;
}

}  // namespace vmdkdm
