#include "dm/table.h"

#include <catch2/catch.hpp>
#include <limits>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TableLine line(std::uint64_t start, std::uint64_t length, Target target) {
    return {Sectors(start), Sectors(length), std::move(target)};
}

TEST_CASE("lines are kept as they were added, whatever they show") {
    const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    const std::uint32_t most_minors = std::numeric_limits<std::uint32_t>::max();
    const std::vector<Target> targets = {
        LinearTarget{DeviceNumber{7, 3}, Sectors(5)},
        LinearTarget{DeviceNumber{(1 << 24) - 1, most_minors}, Sectors(most)},
        LinearTarget{DeviceNumber{1 << 24, 9}, Sectors(most)},
        LinearTarget{PlannedDevice{most_minors}, Sectors(most)},
        ZeroTarget{},
        ErrorTarget{},
        StripedTarget{Sectors(8), {{DeviceNumber{7, 1}, Sectors(0)}, {PlannedDevice{2}, Sectors(1)}}},
        SnapshotTarget{PlannedDevice{1}, DeviceNumber{7, 2}, Persistence::overflow, Sectors(16)},
        SnapshotOriginTarget{DeviceNumber{7, 4}}};
    TableLines lines;
    for (const Target& target : targets) lines.add(line(lines.size(), lines.size() + 1, target));
    REQUIRE(lines.size() == targets.size());
    for (std::size_t i = 0; i < targets.size(); ++i) CHECK(lines[i] == line(i, i + 1, targets[i]));
    CHECK(lines.end_of_last() == Sectors(2 * targets.size() - 1));
}

TEST_CASE("a table prints as the kernel takes it") {
    const Table table(
        {line(0, 63, LinearTarget{DeviceNumber{7, 0}, Sectors(2048)}), line(63, 1, ZeroTarget{}),
         line(64, 64, ErrorTarget{}),
         line(128, 128,
              SnapshotTarget{DeviceNumber{254, 1}, DeviceNumber{7, 12}, Persistence::persistent, Sectors(8)}),
         line(256, 1,
              SnapshotTarget{DeviceNumber{254, 1}, DeviceNumber{7, 12}, Persistence::none, Sectors(16)}),
         line(257, 3, SnapshotOriginTarget{DeviceNumber{8, 16}})});
    const std::string text =
        "0 63 linear 7:0 2048\n"
        "63 1 zero\n"
        "64 64 error\n"
        "128 128 snapshot 254:1 7:12 P 8\n"
        "256 1 snapshot 254:1 7:12 N 16\n"
        "257 3 snapshot-origin 8:16";
    CHECK(table.print() == text);
    CHECK(Table::parse(text) == table);
    CHECK(table.length() == Sectors(260));
}

TEST_CASE("a striped target prints as the kernel takes it, and is bound") {
    const Table planned({line(0, 256,
                              StripedTarget{Sectors(128),
                                            {LinearTarget{PlannedDevice{0}, Sectors(2048)},
                                             LinearTarget{PlannedDevice{1}, Sectors(10240)}}})});
    const Table bound = planned.bind({{{254, 3}, Sectors(0)}, {{7, 0}, Sectors(0)}});
    CHECK(bound.print() == "0 256 striped 2 128 254:3 2048 7:0 10240");
    CHECK(Table::parse(bound.print()) == bound);
}

TEST_CASE(
    "the kernel's own spelling parses: blanks at line ends, empty lines, PO for a store that overflows") {
    CHECK(Table::parse("0 8 zero \n\n8 8 error \n") ==
          Table({line(0, 8, ZeroTarget{}), line(8, 8, ErrorTarget{})}));
    CHECK(Table::parse("0 8 snapshot 254:1 254:2 PO 8").print() == "0 8 snapshot 254:1 254:2 PO 8");
}

TEST_CASE("a table without lines is refused") {
    const Failure failure{ErrorKind::format, "a device-mapper table needs at least one line"};
    CHECK(failure_of([] { Table({}); }) == failure);
    CHECK(failure_of([] { Table::parse(""); }) == failure);
    CHECK(failure_of([] { Table::parse("  \n\n"); }) == failure);
}

TEST_CASE("a table with a gap, an overlap, an empty line or a late start is refused, and the line is named") {
    CHECK(failure_of([] { Table({line(1, 8, ZeroTarget{})}); }) ==
          Failure{ErrorKind::format,
                  "table line at sector 1 of length 8: expected one that starts at 0 and is not empty"});
    CHECK(failure_of([] {
              Table({line(0, 8, ZeroTarget{}), line(9, 8, ZeroTarget{})});
          }) ==
          Failure{ErrorKind::format,
                  "table line at sector 9 of length 8: expected one that starts at 8 and is not empty"});
    CHECK(failure_of([] {
              Table({line(0, 8, ZeroTarget{}), line(7, 8, ZeroTarget{})});
          }) ==
          Failure{ErrorKind::format,
                  "table line at sector 7 of length 8: expected one that starts at 8 and is not empty"});
    CHECK(failure_of([] {
              Table({line(0, 8, ZeroTarget{}), line(8, 0, ZeroTarget{})});
          }) ==
          Failure{ErrorKind::format,
                  "table line at sector 8 of length 0: expected one that starts at 8 and is not empty"});
}

TEST_CASE("a table that ends past 64 bits is refused like any other bad table") {
    const Failure failure = failure_of([] { Table::parse("0 1 zero\n1 18446744073709551615 zero"); });
    CHECK(failure.kind == ErrorKind::format);
    CHECK(failure.text != "(no error)");
}

TEST_CASE("a line that is not understood is refused, never half taken") {
    for (const std::string text : {"0",
                                   "0 8",
                                   "0 8 striped 2 7:0 0",
                                   "x 8 zero",
                                   "0 -8 zero",
                                   "0 8 linear",
                                   "0 8 linear 7:0",
                                   "0 8 linear /dev/loop0 0",
                                   "0 8 linear 7: 0",
                                   "0 8 linear :0 0",
                                   "0 8 linear 7:0 0x10",
                                   "0 8 linear 7:0 0 1",
                                   "0 8 zero 1",
                                   "0 8 error 1",
                                   "0 8 snapshot 7:0 7:1 X 8",
                                   "0 8 snapshot 7:0 7:1 P",
                                   "0 8 snapshot-origin",
                                   "0 8 linear 99999999999:0 0",
                                   "99999999999999999999 8 zero",
                                   "0\t8\tzero"})
        CHECK(failure_of([&] { Table::parse(text); }) ==
              Failure{ErrorKind::format,
                      concat("not a device-mapper table line that is known here: '", text, "'")});
}

TEST_CASE("a planned device may begin within another") {
    const Table planned({line(0, 8, LinearTarget{PlannedDevice{1}, Sectors(5)}),
                         line(8, 8, LinearTarget{DeviceNumber{8, 0}, Sectors(4)})});
    CHECK(planned.bind({{{7, 0}, Sectors(0)}, {{254, 0}, Sectors(2000)}}).print() ==
          "0 8 linear 254:0 2005\n8 8 linear 8:0 4");
}

TEST_CASE("binding gives every planned device its number and leaves the rest alone") {
    const Table planned(
        {line(0, 8, LinearTarget{PlannedDevice{1}, Sectors(0)}),
         line(8, 8, LinearTarget{DeviceNumber{8, 0}, Sectors(4)}), line(16, 8, ZeroTarget{}),
         line(24, 8, SnapshotTarget{PlannedDevice{0}, PlannedDevice{1}, Persistence::persistent, Sectors(8)}),
         line(32, 8, SnapshotOriginTarget{PlannedDevice{0}})});
    CHECK(planned.print() ==
          "0 8 linear #1 0\n8 8 linear 8:0 4\n16 8 zero\n24 8 snapshot #0 #1 P 8\n32 8 snapshot-origin #0");
    CHECK(
        planned.bind({{{7, 5}, Sectors(0)}, {{7, 6}, Sectors(0)}}).print() ==
        "0 8 linear 7:6 0\n8 8 linear 8:0 4\n16 8 zero\n24 8 snapshot 7:5 7:6 P 8\n32 8 snapshot-origin 7:5");
    CHECK_THROWS(planned.bind({{{7, 5}, Sectors(0)}}));
}

TEST_CASE("lines that share all but their ends print as others do") {
    const LinearTarget one{PlannedDevice{1}, Sectors(5)};
    const LinearTarget other{DeviceNumber{7, 1}, Sectors(5)};
    const Table table({line(0, 8, one), line(8, 8, LinearTarget{PlannedDevice{1}, Sectors(99)}),
                       line(16, 9, one), line(25, 9, other), line(34, 9, ZeroTarget{}), line(43, 9, other),
                       line(52, 9, LinearTarget{DeviceNumber{7, 2}, Sectors(0)})});
    CHECK(table.print() ==
          "0 8 linear #1 5\n8 8 linear #1 99\n16 9 linear #1 5\n25 9 linear 7:1 5\n34 9 zero\n"
          "43 9 linear 7:1 5\n52 9 linear 7:2 0");
}

TEST_CASE("a long table prints in pieces, and asks for each device's name once") {
    TableLines lines;
    for (std::uint64_t i = 0; i < 10000; ++i)
        lines.add(line(i, 1, LinearTarget{PlannedDevice{static_cast<std::uint32_t>(i % 3)}, Sectors(i)}));
    const Table table(std::move(lines));
    int asked = 0;
    const DeviceNamer namer = [&asked](PlannedDevice device) {
        ++asked;
        return concat("/dev/loop", device.index);
    };
    std::vector<std::string> pieces;
    table.print(namer, [&pieces](std::string_view piece) { pieces.emplace_back(piece); });
    CHECK(asked == 3);
    CHECK(pieces.size() > 1);
    std::string text;
    for (const std::string& piece : pieces) {
        CHECK(piece.size() < 100000);
        text += piece;
    }
    CHECK(text == table.print(namer));
    CHECK(text.starts_with("0 1 linear /dev/loop0 0\n1 1 linear /dev/loop1 1\n"));
    CHECK(text.ends_with("\n9999 1 linear /dev/loop0 9999"));
}

TEST_CASE("planned devices print by the name that the caller gives them") {
    const Table planned({line(0, 8, LinearTarget{PlannedDevice{3}, Sectors(9)}), line(8, 1, ErrorTarget{})});
    const DeviceNamer namer = [](PlannedDevice device) { return concat("/dev/loop", device.index); };
    CHECK(planned.print(namer, ",") == "0 8 linear /dev/loop3 9,8 1 error");
}

}  // namespace
}  // namespace vmdkdm
