#include "tab/needs.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace vmdkdm {
namespace {

class CycleSearch {
  public:
    CycleSearch(std::size_t entries, const std::vector<TabNeed>& needs)
        : needs_(needs), marks_(entries, Mark::fresh), needs_of_(entries) {
        for (std::size_t at = 0; at < needs.size(); ++at) needs_of_[needs[at].entry].push_back(at);
    }

    std::vector<std::vector<TabNeed>> run() {
        for (std::size_t entry = 0; entry < marks_.size(); ++entry)
            if (marks_[entry] == Mark::fresh) visit(entry);
        return std::move(cycles_);
    }

  private:
    enum class Mark { fresh, on_the_way, done };

    // The way is a list of our own: a table may be long.
    struct Step {
        std::size_t entry;
        std::size_t next_need;
    };

    void visit(std::size_t from) {
        std::vector<Step> steps = {{from, 0}};
        marks_[from] = Mark::on_the_way;
        while (!steps.empty()) {
            Step& step = steps.back();
            const std::size_t at = next_of(step);
            if (at == needs_.size()) {
                marks_[step.entry] = Mark::done;
                steps.pop_back();
                if (!way_.empty()) way_.pop_back();
                continue;
            }
            const TabNeed& need = needs_[at];
            if (marks_[need.needed] == Mark::on_the_way) {
                add_cycle(need);
            } else if (marks_[need.needed] == Mark::fresh) {
                marks_[need.needed] = Mark::on_the_way;
                way_.push_back(need);
                steps.push_back({need.needed, 0});
            }
        }
    }

    // The number of the next need, or of none.
    std::size_t next_of(Step& step) const {
        const std::vector<std::size_t>& own = needs_of_[step.entry];
        return step.next_need < own.size() ? own[step.next_need++] : needs_.size();
    }

    void add_cycle(const TabNeed& last) {
        const auto first = std::find_if(way_.begin(), way_.end(),
                                        [&](const TabNeed& need) { return need.entry == last.needed; });
        std::vector<TabNeed> cycle(first, way_.end());
        cycle.push_back(last);
        if (std::any_of(cycle.begin(), cycle.end(),
                        [&](const TabNeed& need) { return in_cycle_.count(need.entry) > 0; }))
            return;
        for (const TabNeed& need : cycle) in_cycle_.insert(need.entry);
        cycles_.push_back(std::move(cycle));
    }

    const std::vector<TabNeed>& needs_;
    std::vector<Mark> marks_;
    std::vector<std::vector<std::size_t>> needs_of_;
    std::vector<TabNeed> way_;
    std::set<std::size_t> in_cycle_;
    std::vector<std::vector<TabNeed>> cycles_;
};

bool is_number(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::vector<std::vector<TabNeed>> find_cycles(std::size_t entries, const std::vector<TabNeed>& needs) {
    return CycleSearch(entries, needs).run();
}

bool is_device_of(std::string_view device, const TabEntry& entry) {
    constexpr std::string_view directory = "/dev/mapper/";
    if (!device.starts_with(directory)) return false;
    device.remove_prefix(directory.size());
    if (!device.starts_with(entry.name)) return false;
    device.remove_prefix(entry.name.size());
    if (device.empty() || is_number(device)) return true;
    const TabOption* const delimiter = entry.find("delimiter");
    std::string_view between = "p";
    if (delimiter != nullptr && delimiter->value) between = *delimiter->value;
    return device.starts_with(between) && is_number(device.substr(between.size()));
}

std::optional<std::string> entry_of_unit(std::string_view unit) {
    constexpr std::string_view prefix = "vmdk-dm@";
    constexpr std::string_view suffix = ".service";
    if (!unit.starts_with(prefix) || !unit.ends_with(suffix) || unit.size() <= prefix.size() + suffix.size())
        return std::nullopt;
    unit.remove_prefix(prefix.size());
    unit.remove_suffix(suffix.size());
    std::string name;
    for (std::size_t i = 0; i < unit.size(); ++i) {
        unsigned byte = 0;
        const bool is_escape =
            unit.substr(i, 2) == "\\x" && i + 4 <= unit.size() &&
            std::from_chars(unit.data() + i + 2, unit.data() + i + 4, byte, 16).ptr == unit.data() + i + 4;
        name += is_escape ? static_cast<char>(byte) : unit[i] == '-' ? '/' : unit[i];
        if (is_escape) i += 3;
    }
    return name;
}

}  // namespace vmdkdm
