#include "dm/snapshot_status.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("the status of a snapshot says how full it is, or that it is full, or that it is lost") {
    const SnapshotStatus status = parse_snapshot_status("2048/8192 16");
    CHECK(status.state == SnapshotState::usable);
    CHECK(status.used == Sectors(2048));
    CHECK(status.total == Sectors(8192));
    CHECK(parse_snapshot_status("Overflow").state == SnapshotState::overflowed);
    CHECK(parse_snapshot_status("Invalid").state == SnapshotState::invalid);
    CHECK(parse_snapshot_status("Merge failed").state == SnapshotState::invalid);
}

TEST_CASE("a status that is not understood is refused") {
    for (const std::string text : {"", "Unknown", "12", "12/", "12/13", "12/13 ", "12/13 4 5", "12 13 4",
                                   "-1/2 3", "1/99999999999999999999 2"})
        CHECK(failure_of([&] { parse_snapshot_status(text); }) ==
              Failure{ErrorKind::format, concat("not a snapshot status that is known here: '", text, "'")});
}

}  // namespace
}  // namespace vmdkdm
