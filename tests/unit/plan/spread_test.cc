#include "plan/spread.h"

#include <catch2/catch.hpp>

#include "plan/plan.h"
#include "support/memory_files.h"
#include "support/plan_model.h"

namespace vmdkdm {
namespace {

using test::MemoryFiles;
using test::PlanModel;

// In sectors.
constexpr std::uint64_t mib = (1 << 20) / sector_size;
constexpr std::uint64_t gib = 1024 * mib;

struct Disk {
    MemoryFiles files;
    BlockMap::Builder builder;

    FileIndex file(const std::string& path, std::uint64_t sectors, FileKind kind = FileKind::regular) {
        return builder.add_file(files.add_hole(path, to_bytes(Sectors(sectors)), kind), 0);
    }
    Disk& data(std::uint64_t length, FileIndex index, std::uint64_t sector = 0) {
        builder.append(Sectors(length), Stored{index, Sectors(sector)});
        return *this;
    }
    Disk& zero(std::uint64_t length) {
        builder.append(Sectors(length), Zero{0});
        return *this;
    }
    BlockMap build() { return std::move(builder).build(); }
};

PlanOptions on(unsigned loops) {
    PlanOptions options;
    options.name = "web";
    options.id = "fd00.1";
    options.loops = loops;
    return options;
}

std::string table_of(const Plan& plan) { return plan.disk.table.print(planned_names(plan)); }

std::vector<std::string> files_of(const Plan& plan) {
    std::vector<std::string> paths;
    for (const LowerPlan& lower : plan.lowers) paths.push_back(lower.file ? lower.file->path() : "(store)");
    return paths;
}

using Paths = std::vector<std::string>;

TEST_CASE("a large file's stretches go round its loop devices, and each reads where the file has them") {
    Disk disk;
    const FileIndex a = disk.file("/a", 100 * mib);
    const Plan plan = make_plan(disk.data(70 * mib, a, 10 * mib + 63).zero(5).build(), on(3));
    CHECK(files_of(plan) == Paths{"/a", "/a", "/a"});
    CHECK(table_of(plan) ==
          "0 12225 linear /dev/loop0 20543\n"
          "12225 32768 linear /dev/loop1 32768\n"
          "44993 32768 linear /dev/loop2 65536\n"
          "77761 32768 linear /dev/loop0 98304\n"
          "110529 32768 linear /dev/loop1 131072\n"
          "143297 63 linear /dev/loop2 163840\n"
          "143360 5 zero");
    CHECK(plan.cost.lines == 7);
}

TEST_CASE("loop devices are dealt out by what is shown of a file, and where that is little it has one") {
    Disk disk;
    const FileIndex small = disk.file("/small", 30 * gib);
    const FileIndex base = disk.file("/base", 100 * gib);
    const FileIndex delta = disk.file("/delta", 10 * gib);
    disk.data(31 * mib, small).data(20 * gib, base).data(10 * gib, delta).data(10 * gib, base, 90 * gib);
    const Plan plan = make_plan(disk.build(), on(8));
    CHECK(files_of(plan) == Paths{"/small", "/base", "/delta", "/base", "/base", "/base", "/base"});
}

TEST_CASE("as many files as loop devices have one each") {
    Disk disk;
    Paths paths;
    for (unsigned i = 0; i < 8; ++i) {
        paths.push_back(concat("/", i));
        disk.data(2 * gib, disk.file(paths.back(), 2 * gib));
    }
    const Plan plan = make_plan(disk.build(), on(8));
    CHECK(files_of(plan) == paths);
    CHECK(plan.cost.lines == 8);
}

TEST_CASE("no more loop devices than stretches") {
    Disk disk;
    const FileIndex a = disk.file("/a", 40 * mib);
    CHECK(files_of(make_plan(disk.data(40 * mib, a).build(), on(8))) == Paths{"/a", "/a"});
}

TEST_CASE("a file that is shown again and again makes no more lines than one of that size") {
    Disk disk;
    const FileIndex a = disk.file("/a", gib);
    for (unsigned i = 0; i < 1000; ++i) disk.data(gib, a);
    const Plan plan = make_plan(disk.build(), on(8));
    CHECK(plan.lowers.size() == 1);
    CHECK(plan.disk.table.lines().size() == 1000);
}

TEST_CASE("the largest file makes some hundred lines") {
    Disk disk;
    const FileIndex a = disk.file("/a", max_capacity.count());
    const Plan plan = make_plan(disk.data(max_capacity.count(), a).build(), on(8));
    CHECK(plan.lowers.size() == 8);
    CHECK(plan.disk.table.lines().size() == 256);
    CHECK(plan.disk.table.length() == max_capacity);
}

TEST_CASE("a block device is not spread, and what is written in place is not") {
    Disk device;
    const FileIndex a = device.file("/dev/sdx", gib, FileKind::block_device);
    CHECK(table_of(make_plan(device.data(gib, a).build(), on(8))) == "0 2097152 linear /dev/sdx 0");
    Disk flat;
    const FileIndex b = flat.file("/b", gib);
    PlanOptions options = on(8);
    options.in_place = true;
    CHECK(table_of(make_plan(flat.data(gib, b).build(), options)) == "0 2097152 linear /dev/loop0 0");
}

TEST_CASE("of a disk with an overlay the image's file is spread, and the overlay is not") {
    Disk disk;
    const FileIndex a = disk.file("/a", 32 * mib);
    PlanOptions options = on(8);
    options.overlay =
        OverlayPlan{disk.files.add_hole("/o", Bytes(1 << 30)), Bytes(1 << 20), Bytes(1 << 29), Sectors(32)};
    const Plan plan = make_plan(disk.data(32 * mib, a).build(), options);
    CHECK(files_of(plan) == Paths{"/a", "/a", "/o"});
    CHECK(table_of(plan) == "0 65536 snapshot /dev/mapper/web-base /dev/loop2 PO 32");
    CHECK(plan.inner.at(0).table.print(planned_names(plan)) ==
          "0 32768 linear /dev/loop0 0\n32768 32768 linear /dev/loop1 32768");
}

TEST_CASE("single grains, long runs and the base below them are all spread, and shown where they were") {
    Disk disk;
    const FileIndex base = disk.file("/base", 64 * mib);
    const FileIndex grains = disk.file("/grains", 64 * mib);
    // Grains at odd places, so that chunks reach across the borders of stretches.
    for (std::uint64_t i = 0; i < 2000; ++i)
        disk.data(8, grains, (i * 7919 % 8000) * 16 + 3).data(8, base, 16 * i + 8);
    disk.data(40 * mib, base, 20 * mib).data(40 * mib, grains, 20 * mib + 3);
    const BlockMap map = disk.build();
    PlanOptions options = on(8);
    options.strategy = Strategy::exceptions;
    const Plan plan = make_plan(map, options);
    CHECK(files_of(plan) == Paths{"/base", "/grains", "/base", "/grains", "(store)"});
    const PlanModel model(plan);
    for (const Run& run : map)
        for (Sectors at = run.start; at < run.start + run.length;
             at += Sectors(run.length > Sectors(8) ? 1021 : 1)) {
            const auto& stored = std::get<Stored>(run.content);
            const std::string expected = concat(map.files()[stored.file].file->path(), ":",
                                                (stored.sector + (at - run.start)).count());
            if (model.at(at) != expected) {
                INFO("sector " << at.count());
                REQUIRE(model.at(at) == expected);
            }
        }
    std::size_t lines = 0;
    for (const DevicePlan* device : plan.devices()) lines += device->table.lines().size();
    CHECK(plan.cost.lines > 2);
    CHECK(plan.cost.lines <= lines);
}

}  // namespace
}  // namespace vmdkdm
