#include "base/first_of_each.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace vmdkdm {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

TEST_CASE("of each key the first entry is taken, in order") {
    const Entries entries = {{"b", "1"}, {"a", "2"}, {"b", "3"}, {"c", "4"}, {"a", "5"}};
    std::string values;
    for (const auto* entry : first_of_each_key(entries)) values += entry->second;
    CHECK(values == "124");
}

TEST_CASE("twice as many keys take hardly more than twice the comparisons") {
    const auto comparisons = [](int count) {
        Entries entries;
        for (int i = 0; i < count; ++i) entries.emplace_back(std::to_string(i), "");
        std::uint64_t compared = 0;
        const auto less = [&compared](std::string_view a, std::string_view b) {
            ++compared;
            return a < b;
        };
        REQUIRE(first_of_each_key(entries, less).size() == entries.size());
        return compared;
    };
    const std::uint64_t once = comparisons(40'000);
    CHECK(once < std::uint64_t{40'000} * 32);
    CHECK(comparisons(80'000) < once * 9 / 4);
}

}  // namespace
}  // namespace vmdkdm
