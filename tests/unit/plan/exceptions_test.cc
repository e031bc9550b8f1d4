#include "plan/exceptions.h"

#include <catch2/catch.hpp>
#include <random>

#include "plan/plan.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/plan_model.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using test::PlanModel;

struct Disk {
    MemoryFiles files;
    BlockMap::Builder builder;
    FileIndex file;

    explicit Disk(std::uint64_t sectors = 1 << 20)
        : file(builder.add_file(files.add_hole("/a", to_bytes(Sectors(sectors))), 0)) {}
    Disk& data(std::uint64_t length, std::uint64_t sector) {
        builder.append(Sectors(length), Stored{file, Sectors(sector)});
        return *this;
    }
    Disk& zero(std::uint64_t length) {
        builder.append(Sectors(length), Zero{0});
        return *this;
    }
    Disk& error(std::uint64_t length) {
        builder.append(Sectors(length), Unreadable{0, builder.add_reason({Reason::Kind::damage, "bad"})});
        return *this;
    }
    BlockMap build() { return std::move(builder).build(); }
};

Plan plan_of(const BlockMap& map, std::optional<Strategy> strategy = Strategy::exceptions) {
    PlanOptions options;
    options.name = "web";
    options.id = "fd00.1";
    options.strategy = strategy;
    return make_plan(map, options);
}

std::string show(const BlockMap& map, Sectors sector) {
    const Run run = map[map.index_of(sector)];
    if (const auto* stored = std::get_if<Stored>(&run.content))
        return concat(map.files()[stored->file].file->path(), ":",
                      (stored->sector + (sector - run.start)).count());
    return std::holds_alternative<Zero>(run.content) ? "zero" : "error";
}

void check_every_sector(const BlockMap& map, const Plan& plan) {
    const PlanModel model(plan);
    for (Sectors sector; sector < map.capacity(); sector += Sectors(1))
        if (model.at(sector) != show(map, sector)) {
            INFO("sector " << sector.count());
            REQUIRE(model.at(sector) == show(map, sector));
        }
}

std::string tables_of(const Plan& plan) {
    std::string text;
    for (const DevicePlan* device : plan.devices())
        text += concat(device->name, " ", device->uuid, ": ", device->table.print(planned_names(plan), "; "),
                       "\n");
    return text;
}

TEST_CASE("grains of an otherwise empty disk become exceptions over an origin of zeros") {
    Disk disk;
    const BlockMap map = disk.zero(128).data(128, 1152).zero(256).data(128, 128).zero(128).build();
    const Plan plan = plan_of(map);
    check_every_sector(map, plan);
    // The store: header, one area. Then the file.
    CHECK(tables_of(plan) ==
          "web-origin VMDK-fd00.1-origin: 0 768 zero\n"
          "web-cow VMDK-fd00.1-cow: 0 256 linear /dev/loop1 0; 256 1048576 linear /dev/loop0 0\n"
          "web VMDK-fd00.1-disk: 0 768 snapshot /dev/mapper/web-origin /dev/mapper/web-cow P 128\n");
    REQUIRE(plan.lowers.size() == 2);
    // From the end of the disk on: the kernel finds the place of each at once.
    CHECK(test::listed_in(*plan.lowers[1].store) == std::vector<Exception>{{4, 2 + 1}, {1, 2 + 9}});
    CHECK(plan.cost.strategy == Strategy::exceptions);
    CHECK(plan.cost.exceptions == 2);
}

TEST_CASE("a base goes on between the grains of its child as one line") {
    Disk disk;
    const FileIndex base = disk.builder.add_file(disk.files.add_hole("/base", Bytes(512 * 4096)), 1);
    for (std::uint64_t at = 0; at < 4096; at += 256) {
        disk.builder.append(Sectors(192), Stored{base, Sectors(at)});
        disk.data(64, 4096 - at);
    }
    const BlockMap map = disk.build();
    const Plan plan = plan_of(map);
    check_every_sector(map, plan);
    // And zeros where the last grain hides them.
    CHECK(plan.inner[0].table.lines().size() == 2);
    CHECK(plan.cost.exceptions == 16);
}

TEST_CASE("grains at several remainders of the chunk are mapped, not refused") {
    Disk disk;
    for (std::uint64_t i = 0; i < 40; ++i) disk.data(128, 128 * (2 * i + 1) + i % 5).zero(128);
    const BlockMap map = disk.build();
    const Plan plan = plan_of(map);
    check_every_sector(map, plan);
    CHECK(plan.disk.table.print(planned_names(plan)) ==
          "0 10240 snapshot /dev/mapper/web-origin /dev/mapper/web-cow P 128");
    // The store, and the file once for each remainder.
    CHECK(plan.inner[1].table.lines().size() == 1 + 5);
}

TEST_CASE("zeros and errors among grains are exceptions too") {
    Disk disk;
    disk.data(64 * 128, 0);
    for (std::uint64_t i = 0; i < 30; ++i)
        disk.data(8, 90000 - 16 * i).zero(8).data(8, 50000 - 16 * i).error(8);
    const BlockMap map = disk.build();
    check_every_sector(map, plan_of(map));
}

TEST_CASE("long runs are lines of the disk itself, what is not aligned are lines of the origin") {
    Disk disk;
    disk.data(100 * 128, 5);
    for (std::uint64_t i = 0; i < 30; ++i) disk.data(128, 900000 - 256 * i);
    disk.data(77, 400000).data(51, 300000).data(128, 1000);
    const BlockMap map = disk.build();
    const Plan plan = plan_of(map);
    check_every_sector(map, plan);
    CHECK(plan.disk.table.print(planned_names(plan)) ==
          "0 12800 linear /dev/loop0 5\n12800 4096 linear /dev/mapper/web-grains 12800");
    CHECK(plan.inner[0].table.print(planned_names(plan)) ==
          "0 16640 zero\n16640 77 linear /dev/loop0 400000\n16717 51 linear /dev/loop0 300000\n"
          "16768 128 zero");
    CHECK(plan.cost.exceptions == 31);
}

TEST_CASE("a disk that ends inside a chunk ends there") {
    Disk disk;
    const BlockMap map = disk.data(128, 1280).zero(128).data(128, 128).zero(128).data(37, 640).build();
    check_every_sector(map, plan_of(map));
}

TEST_CASE("random disks show the same bytes as snapshots and line by line") {
    for (unsigned seed = 1; seed <= 60; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](std::uint64_t end) { return random() % end; };
        Disk disk;
        const std::uint64_t grain = std::uint64_t{8} << below(5);
        const std::uint64_t ragged = below(3);  // how often borders lie anywhere, of 10
        for (std::uint64_t i = 0; i < 60; ++i) {
            std::uint64_t length = grain * (1 + below(below(8) == 0 ? 100 : 3));
            if (below(10) < ragged) length = 1 + below(grain);
            switch (below(6)) {
                case 0:
                    disk.zero(length);
                    break;
                case 1:
                    disk.error(length);
                    break;
                default:
                    disk.data(length, below(100000) * (below(4) == 0 ? 1 : 8));
                    break;
            }
        }
        const BlockMap map = disk.build();
        INFO("seed " << seed);
        check_every_sector(map, plan_of(map, Strategy::linear));
        const std::optional<ExceptionLayout> layout = lay_out_exceptions(map);
        if (layout && !layout->exceptions.empty()) check_every_sector(map, plan_of(map));
    }
}

TEST_CASE("where no run is short and aligned, exceptions are refused") {
    const Failure refused{
        ErrorKind::refused,
        "--strategy exceptions: no run of the disk is short and aligned to 4 KiB (use linear)"};
    Disk flat;
    const BlockMap long_run = flat.data(1 << 20, 0).build();
    CHECK(failure_of([&] { plan_of(long_run); }) == refused);
    Disk odd;
    const BlockMap ragged = odd.data(3, 50).data(5, 0).data(7, 100).build();
    CHECK(failure_of([&] { plan_of(ragged); }) == refused);
}

// Grains in reverse order, so that no two continue each other.
BlockMap reversed_grains(Disk& disk, std::uint64_t count, std::uint64_t grain) {
    for (std::uint64_t i = 0; i < count; ++i) disk.data(grain, (count - i) * grain);
    return disk.build();
}

TEST_CASE("few lines are linear and very many are exceptions, unless the user says otherwise") {
    Disk few;
    const BlockMap small = reversed_grains(few, 900, 8);
    CHECK(plan_of(small, std::nullopt).cost.strategy == Strategy::linear);
    CHECK_FALSE(plan_of(small, std::nullopt).alternative);
    CHECK(plan_of(small).cost.strategy == Strategy::exceptions);
    Disk many(std::uint64_t{1} << 24);
    const BlockMap large = reversed_grains(many, 120000, 8);
    const Plan chosen = plan_of(large, std::nullopt);
    CHECK(chosen.cost.strategy == Strategy::exceptions);
    REQUIRE(chosen.alternative);
    CHECK(chosen.alternative->lines == 120000);
    CHECK(is_cheaper(chosen.cost, *chosen.alternative));
}

TEST_CASE("concise form: devices below the disk come first") {
    Disk disk;
    const Plan plan = plan_of(disk.zero(128).data(128, 1152).zero(256).build());
    CHECK(print_concise(plan) ==
          "web-origin,VMDK-fd00.1-origin,,ro,0 512 zero;"
          "web-cow,VMDK-fd00.1-cow,,ro,0 256 linear /dev/loop1 0,256 1048576 linear /dev/loop0 0;"
          "web,VMDK-fd00.1-disk,,ro,0 512 snapshot /dev/mapper/web-origin /dev/mapper/web-cow P 128");
}

TEST_CASE("more lines than a table holds are spread over devices below the disk") {
    Disk disk(std::uint64_t{1} << 24);
    const BlockMap map = reversed_grains(disk, 600000, 8);
    const Plan plan = plan_of(map, Strategy::linear);
    REQUIRE(plan.inner.size() == 2);
    CHECK(plan.inner[0].name == "web-map0");
    CHECK(plan.inner[0].uuid == "VMDK-fd00.1-map0");
    CHECK(plan.inner[0].table.lines().size() == 500000);
    CHECK(plan.inner[1].table.lines().size() == 100000);
    CHECK(plan.disk.table.print(planned_names(plan)) ==
          "0 4000000 linear /dev/mapper/web-map0 0\n4000000 800000 linear /dev/mapper/web-map1 0");
}

}  // namespace
}  // namespace vmdkdm
