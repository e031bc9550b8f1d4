#include "plan/plan.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;

struct Disk {
    MemoryFiles files;
    BlockMap::Builder builder;

    FileIndex file(const std::string& path, std::uint64_t sectors, FileKind kind = FileKind::regular) {
        return builder.add_file(files.add_hole(path, to_bytes(Sectors(sectors)), kind), 0);
    }
    Disk& data(std::uint64_t length, FileIndex index, std::uint64_t sector) {
        builder.append(Sectors(length), Stored{index, Sectors(sector)});
        return *this;
    }
    Disk& zero(std::uint64_t length) {
        builder.append(Sectors(length), Zero{0});
        return *this;
    }
    Disk& hidden(std::uint64_t length) {
        builder.append(Sectors(length), Unreadable{0, builder.add_reason({Reason::Kind::damage, "hidden"})});
        return *this;
    }
    BlockMap build() { return std::move(builder).build(); }
};

Plan plan_of(const BlockMap& map, PlanOptions options = {}) {
    options.name = "web";
    options.id = "fd00.1";
    return make_plan(map, options);
}

std::string table_of(const Plan& plan) { return plan.disk.table.print(planned_names(plan)); }

TEST_CASE("stored, zero and unreadable runs become linear, zero and error lines") {
    Disk disk;
    const FileIndex a = disk.file("/a", 100);
    const FileIndex b = disk.file("/b", 100);
    const Plan plan = plan_of(disk.data(8, a, 16).zero(5).data(3, b, 0).hidden(2).build());
    CHECK(table_of(plan) == "0 8 linear /dev/loop0 16\n8 5 zero\n13 3 linear /dev/loop1 0\n16 2 error");
    CHECK(plan.disk.read_only);
    CHECK(plan.disk.name == "web");
    CHECK(plan.disk.uuid == "VMDK-fd00.1-disk");
    REQUIRE(plan.lowers.size() == 2);
    CHECK(plan.lowers[1].file->path() == "/b");
}

TEST_CASE("a block device is used as it is and takes no loop number") {
    Disk disk;
    const FileIndex a = disk.file("/a", 100);
    const FileIndex device = disk.file("/dev/sdx", 100, FileKind::block_device);
    const FileIndex b = disk.file("/b", 100);
    const Plan plan = plan_of(disk.data(8, a, 0).data(8, device, 63).data(8, b, 0).build());
    CHECK(plan.lowers[0].needs_loop());
    CHECK_FALSE(plan.lowers[1].needs_loop());
    CHECK(table_of(plan) == "0 8 linear /dev/loop0 0\n8 8 linear /dev/sdx 63\n16 8 linear /dev/loop1 0");
}

Failure refusal_in_place(const BlockMap& map) {
    PlanOptions in_place;
    in_place.in_place = true;
    return failure_of([&] { plan_of(map, in_place); });
}

TEST_CASE("a zero run is never exposed writable, nor is one that cannot be read") {
    PlanOptions in_place;
    in_place.in_place = true;
    Disk flat;
    const FileIndex a = flat.file("/a", 100);
    CHECK_FALSE(plan_of(flat.data(8, a, 0).data(8, a, 50).build(), in_place).disk.read_only);
    Disk zeros;
    const FileIndex b = zeros.file("/b", 100);
    CHECK(refusal_in_place(zeros.data(8, b, 0).zero(1).build()) ==
          Failure{ErrorKind::refused,
                  "--in-place needs a purely flat image: in this one, 1 sectors from 8 on are "
                  "stored in no file"});
    Disk unreadable;
    CHECK(refusal_in_place(unreadable.hidden(4).build()) ==
          Failure{ErrorKind::refused,
                  "--in-place needs a purely flat image: in this one, 4 sectors from 0 on are "
                  "stored in no file"});
}

TEST_CASE("a sector that stands for two is never exposed writable") {
    const auto refusal = [](std::uint64_t first, std::uint64_t second) {
        Disk disk;
        const FileIndex a = disk.file("/a", 100);
        const FileIndex b = disk.file("/b", 100);
        return refusal_in_place(disk.data(8, a, first).data(8, b, first).data(8, a, second).build());
    };
    const Failure shared{ErrorKind::refused, "--in-place: two extents share sectors of a file"};
    CHECK(refusal(0, 7) == shared);
    CHECK(refusal(7, 0) == shared);
    CHECK(refusal(0, 0) == shared);
    CHECK(refusal(0, 8).text == "(no error)");
    CHECK(refusal(8, 0).text == "(no error)");
}

TEST_CASE("compressed grains are not mapped in place") {
    Disk disk;
    disk.builder.append(Sectors(128), Compressed{disk.file("/a", 100), 10, Sectors(1)});
    const BlockMap map = disk.build();
    CHECK(failure_of([&] { plan_of(map); }) ==
          Failure{ErrorKind::refused, "it holds compressed grains, which cannot be mapped where they are"});
}

TEST_CASE("loops get blocks of 4096 bytes only when every run is aligned to them") {
    PlanOptions options;
    options.logical_sector_size = 4096;
    const auto block_size = [&](auto&& fill) {
        Disk disk;
        fill(disk, disk.file("/a", 1000));
        return plan_of(disk.build(), options).loop_block_size;
    };
    CHECK(block_size([](Disk& disk, FileIndex a) { disk.data(8, a, 8).zero(16).hidden(8); }) == 4096);
    CHECK(block_size([](Disk& disk, FileIndex a) { disk.data(8, a, 4); }) == 512);
    CHECK(block_size([](Disk& disk, FileIndex a) { disk.data(4, a, 0).zero(12); }) == 512);
    CHECK(block_size([](Disk& disk, FileIndex a) { disk.data(8, a, 0).zero(7); }) == 512);
    options.logical_sector_size = 512;
    CHECK(block_size([](Disk& disk, FileIndex a) { disk.data(8, a, 8); }) == 512);
}

TEST_CASE("concise form: commas, semicolons and backslashes are escaped") {
    Disk disk;
    const FileIndex device = disk.file("/dev/disk/by-id/a,b;c\\d", 100, FileKind::block_device);
    const Plan plan = plan_of(disk.data(8, device, 0).zero(8).build());
    CHECK(print_concise(plan) ==
          "web,VMDK-fd00.1-disk,,ro,0 8 linear /dev/disk/by-id/a\\,b\\;c\\\\d 0,8 8 zero");
    PlanOptions in_place;
    in_place.in_place = true;
    Disk flat;
    const FileIndex a = flat.file("/a", 100);
    CHECK(print_concise(plan_of(flat.data(8, a, 1).build(), in_place)) ==
          "web,VMDK-fd00.1-disk,,rw,0 8 linear /dev/loop0 1");
}

std::string with_text_at(std::size_t offset, const std::string& text, std::size_t size) {
    std::string bytes(size, '\0');
    return bytes.replace(offset, text.size(), text);
}

std::uint32_t sector_size_of(const std::string& bytes, std::uint32_t otherwise = 512) {
    MemoryFiles files;
    BlockMap::Builder builder;
    const FileIndex file = builder.add_file(files.add("/a", bytes), 0);
    builder.append(whole_sectors(Bytes(bytes.size())), Stored{file, Sectors(0)});
    return sector_size_by_gpt(std::move(builder).build(), otherwise);
}

TEST_CASE("the GPT says how large a sector is") {
    CHECK(sector_size_of(with_text_at(512, "EFI PART", 8192)) == 512);
    CHECK(sector_size_of(with_text_at(4096, "EFI PART", 8192)) == 4096);
    CHECK(sector_size_of(std::string(8192, '\0')) == 512);
    CHECK(sector_size_of(std::string(8192, '\0'), 4096) == 4096);
    // One of a 512-byte disk comes first: at byte 4096 may be anything.
    CHECK(sector_size_of(with_text_at(512, "EFI PART", 4096) + with_text_at(0, "EFI PART", 512)) == 512);
    CHECK(sector_size_of(std::string(512, '\0')) == 512);
    CHECK(sector_size_of(std::string(4096, '\0'), 4096) == 4096);
}

TEST_CASE("where the GPT would be cannot be read, there is none") {
    Disk disk;
    CHECK(sector_size_by_gpt(disk.hidden(100).build(), 512) == 512);
    Disk zeros;
    CHECK(sector_size_by_gpt(zeros.zero(100).build(), 512) == 512);
}

OverlayPlan overlay_on(const FilePtr& file) { return {file, Bytes(1 << 20), Bytes(65536), Sectors(32)}; }

TEST_CASE("under an overlay the disk is a read-only device below, and nothing but the overlay is writable") {
    Disk disk;
    const FileIndex a = disk.file("/a", 100);
    PlanOptions options;
    options.overlay = overlay_on(disk.files.add_hole("/o", Bytes(2 << 20)));
    const Plan plan = plan_of(disk.data(8, a, 16).zero(5).build(), options);
    CHECK(table_of(plan) == "0 13 snapshot /dev/mapper/web-base /dev/loop1 PO 32");
    CHECK_FALSE(plan.disk.read_only);
    REQUIRE(plan.inner.size() == 1);
    CHECK(plan.inner[0].name == "web-base");
    CHECK(plan.inner[0].uuid == "VMDK-fd00.1-base");
    CHECK(plan.inner[0].table.print(planned_names(plan)) == "0 8 linear /dev/loop0 16\n8 5 zero");
    CHECK(plan.inner[0].read_only);
    REQUIRE(plan.lowers.size() == 2);
    CHECK(plan.lowers[0].read_only);
    CHECK_FALSE(plan.lowers[0].size);
    CHECK_FALSE(plan.lowers[1].read_only);
    CHECK(plan.lowers[1].offset == Bytes(1 << 20));
    CHECK(plan.lowers[1].size == Bytes(65536));
    CHECK(plan.overlay == PlannedDevice{1});
    CHECK(print_concise(plan) ==
          "web-base,VMDK-fd00.1-base,,ro,0 8 linear /dev/loop0 16,8 5 zero;"
          "web,VMDK-fd00.1-disk,,rw,0 13 snapshot /dev/mapper/web-base /dev/loop1 PO 32");
}

TEST_CASE("an overlay lies over a snapshot of single grains too") {
    Disk disk;
    const FileIndex a = disk.file("/a", 1000);
    PlanOptions options;
    options.strategy = Strategy::exceptions;
    options.overlay = overlay_on(disk.files.add_hole("/o", Bytes(2 << 20)));
    const Plan plan = plan_of(disk.zero(1600).data(8, a, 16).zero(392).build(), options);
    CHECK(table_of(plan) == "0 2000 snapshot /dev/mapper/web-base /dev/loop1 PO 32");
    for (const DevicePlan& device : plan.inner) CHECK(device.read_only);
    REQUIRE(plan.lowers.size() == 3);
    for (const std::size_t i : {0U, 2U}) CHECK(plan.lowers[i].read_only);
    CHECK_FALSE(plan.lowers[1].read_only);
}

TEST_CASE("a plan in place has no overlay") {
    Disk disk;
    const FileIndex a = disk.file("/a", 100);
    PlanOptions options;
    options.in_place = true;
    options.overlay = overlay_on(disk.files.add_hole("/o", Bytes(2 << 20)));
    CHECK(failure_of([&] { plan_of(disk.data(8, a, 0).build(), options); }) ==
          Failure{ErrorKind::usage, "--in-place and an overlay exclude each other"});
}

}  // namespace
}  // namespace vmdkdm
