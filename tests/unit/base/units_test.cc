#include "base/units.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>

namespace vmdkdm {
namespace {

constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("arithmetic that does not fit 64 bits throws instead of wrapping") {
    CHECK(checked_add(most - 1, 1) == most);
    CHECK_THROWS_AS(checked_add(most, 1), UnitOverflow);
    CHECK(checked_subtract(5, 5) == 0);
    CHECK_THROWS_AS(checked_subtract(5, 6), UnitOverflow);
    CHECK(checked_multiply(most / 512, 512) == most / 512 * 512);
    CHECK_THROWS_AS(checked_multiply(most / 512 + 1, 512), UnitOverflow);
}

TEST_CASE("sectors add, subtract and compare with the same checks") {
    CHECK(Sectors(2) + Sectors(3) == Sectors(5));
    CHECK(Sectors(5) - Sectors(3) == Sectors(2));
    CHECK(Sectors(2) < Sectors(3));
    CHECK_THROWS_AS(Sectors(2) - Sectors(3), UnitOverflow);
    CHECK_THROWS_AS(Sectors(most) + Sectors(1), UnitOverflow);
    Sectors sum(1);
    CHECK_THROWS_AS(sum += Sectors(most), UnitOverflow);
    CHECK(sum == Sectors(1));
}

TEST_CASE("a sector is 512 bytes, and a part-sector at the end is dropped") {
    CHECK(to_bytes(Sectors(3)) == Bytes(1536));
    CHECK_THROWS_AS(to_bytes(Sectors(most / 512 + 1)), UnitOverflow);
    CHECK(whole_sectors(Bytes(0)) == Sectors(0));
    CHECK(whole_sectors(Bytes(511)) == Sectors(0));
    CHECK(whole_sectors(Bytes(512)) == Sectors(1));
    CHECK(whole_sectors(Bytes(1023)) == Sectors(1));
}

TEST_CASE("the largest disk is below 2^63 bytes") {
    CHECK(to_bytes(max_capacity).count() == (std::uint64_t{1} << 63) - 512);
}

}  // namespace
}  // namespace vmdkdm
