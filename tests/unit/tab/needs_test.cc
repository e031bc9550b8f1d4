#include "tab/needs.h"

#include <catch2/catch.hpp>

namespace vmdkdm {
namespace {

std::vector<std::vector<std::size_t>> cycles(std::size_t entries,
                                             const std::vector<std::pair<std::size_t, std::size_t>>& pairs) {
    std::vector<TabNeed> needs;
    for (const auto& [entry, needed] : pairs) needs.push_back({entry, needed, ""});
    std::vector<std::vector<std::size_t>> found;
    for (const auto& cycle : find_cycles(entries, needs)) {
        found.emplace_back();
        for (std::size_t i = 0; i < cycle.size(); ++i) {
            CHECK(cycle[i].needed == cycle[(i + 1) % cycle.size()].entry);
            found.back().push_back(cycle[i].entry);
        }
    }
    return found;
}

using Cycles = std::vector<std::vector<std::size_t>>;

TEST_CASE("what needs itself, directly or over others, is a cycle") {
    CHECK(cycles(3, {}) == Cycles{});
    CHECK(cycles(3, {{0, 1}, {1, 2}, {0, 2}}) == Cycles{});
    CHECK(cycles(1, {{0, 0}}) == Cycles{{0}});
    CHECK(cycles(4, {{0, 1}, {1, 2}, {2, 1}, {3, 0}}) == Cycles{{1, 2}});
    CHECK(cycles(3, {{0, 1}, {1, 2}, {2, 0}}) == Cycles{{0, 1, 2}});
    CHECK(cycles(5, {{0, 1}, {1, 0}, {2, 3}, {3, 2}, {4, 0}, {4, 2}}) == Cycles{{0, 1}, {2, 3}});
    CHECK(cycles(2, {{0, 1}, {0, 1}, {1, 0}, {1, 0}}) == Cycles{{0, 1}});
    // The way there is left when a side way ends.
    CHECK(cycles(4, {{0, 1}, {0, 2}, {2, 3}, {3, 2}}) == Cycles{{2, 3}});
}

TEST_CASE("a long chain is followed") {
    std::vector<std::pair<std::size_t, std::size_t>> pairs;
    for (std::size_t i = 0; i + 1 < 2000; ++i) pairs.push_back({i, i + 1});
    pairs.push_back({1999, 0});
    CHECK(cycles(2000, pairs).at(0).size() == 2000);
}

TEST_CASE("a disk and its partitions are known by their names") {
    const Tab tab = parse_tab("web /i\ndisk0 /i\nparts /i delimiter=-part\n", "tab");
    const TabEntry& web = tab.entries.at(0);
    CHECK(is_device_of("/dev/mapper/web", web));
    CHECK(is_device_of("/dev/mapper/web1", web));
    CHECK(is_device_of("/dev/mapper/webp12", web));
    CHECK_FALSE(is_device_of("/dev/mapper/website", web));
    CHECK_FALSE(is_device_of("/dev/mapper/we", web));
    CHECK_FALSE(is_device_of("/dev/web", web));
    CHECK_FALSE(is_device_of("UUID=web", web));
    CHECK(is_device_of("/dev/mapper/disk0p1", tab.entries.at(1)));
    CHECK(is_device_of("/dev/mapper/parts-part3", tab.entries.at(2)));
    CHECK_FALSE(is_device_of("/dev/mapper/partsp3", tab.entries.at(2)));
}

TEST_CASE("the unit of an entry names it") {
    CHECK(entry_of_unit("vmdk-dm@web.service") == "web");
    CHECK(entry_of_unit("vmdk-dm@a\\x2db\\x23.service") == "a-b#");
    CHECK(entry_of_unit("vmdk-dm@a\\x2.service") == "a\\x2");
    CHECK(entry_of_unit("vmdk-dm@.service") == std::nullopt);
    CHECK(entry_of_unit("vmdk-dm.target") == std::nullopt);
    CHECK(entry_of_unit("cryptsetup@web.service") == std::nullopt);
}

}  // namespace
}  // namespace vmdkdm
