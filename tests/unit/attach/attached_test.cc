#include "attach/attached.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "attach/attach.h"
#include "base/concat.h"
#include "files/confined_opener.h"
#include "plan/names.h"
#include "support/map_image.h"
#include "support/temp_dir.h"
#include "unit/fake_kernel.h"
#include "vmdk/image.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::FakeKernel;
using test::FakeMachine;
using test::TempDir;

// Attaches `image` under `name` and returns what is attached then.
std::vector<AttachedDisk> attach_image(FakeMachine& machine, const std::string& path,
                                       const std::string& name) {
    ConfinedOpener opener({});
    std::vector<std::string> notes;
    const Image image = read_image(path, opener);
    PlanOptions options;
    options.direct_io = [](const File&) { return true; };
    options.name = name;
    options.id = image_id(image.file->identity());
    AttachOptions attach_options;
    attach_options.image_path = image.file->path();
    FakeKernel kernel(machine);
    attach(make_plan(map_image(image, opener, {}, notes), options), attach_options, kernel, notes);
    return list_attached(kernel);
}

TEST_CASE("what is attached is read from the kernel: image, loops, partitions, mounts") {
    const TempDir directory;
    directory.write_hole("data", 8192);
    const std::string path =
        directory.write("web.vmdk", "version=1\nRW 8 FLAT \"data\" 0\nRW 8 FLAT \"data\" 8\n");
    FakeMachine machine;
    Partition partition;
    partition.number = 5;
    partition.start = Sectors(2);
    partition.size = Sectors(8);
    machine.partitions = {partition};
    attach_image(machine, path, "web");
    machine.open_by(machine.number_of("web5"), Holder::Kind::mount, "/mnt");
    FakeKernel kernel(machine);
    const std::vector<AttachedDisk> disks = list_attached(kernel);
    REQUIRE(disks.size() == 1);
    CHECK(disks[0].device.name == "web");
    CHECK(disks[0].device.read_only);
    CHECK(disks[0].image == path);
    CHECK(disks[0].capacity == Sectors(16));
    REQUIRE(disks[0].partitions.size() == 1);
    CHECK(disks[0].partitions[0].number == 5);
    CHECK(disks[0].partitions[0].start == Sectors(2));
    CHECK(disks[0].partitions[0].size == Sectors(8));
    CHECK(disks[0].partitions[0].mount_points == std::vector<std::string>{"/mnt"});
    REQUIRE(disks[0].lowers.size() == 1);
    REQUIRE(disks[0].lowers[0].loop);
    CHECK(disks[0].lowers[0].loop->backing_file == directory.path("data"));
    CHECK(disks[0].lowers[0].loop->read_only);
}

TEST_CASE("what has become of files since they were attached is noted, and what reads there get") {
    const TempDir directory;
    directory.write_hole("data", 8192);
    const std::string path = directory.write("web.vmdk", "version=1\nRW 16 FLAT \"data\" 0\n");
    FakeMachine machine;
    AttachedDisk disk = attach_image(machine, path, "web").at(0);
    FakeKernel kernel(machine);
    CHECK(notes_on_files(disk, kernel).empty());
    LoopInfo& loop = *disk.lowers.at(0).loop;
    const std::string data = loop.backing_file;
    loop.missing = Bytes(512);
    for (const bool direct_io : {true, false}) {
        loop.direct_io = direct_io;
        CHECK(notes_on_files(disk, kernel) ==
              std::vector<std::string>{
                  concat("'", data,
                         "' has been cut short since /dev/mapper/web was attached: its last "
                         "512 bytes are gone, and a read that reaches into them ",
                         direct_io ? "fails" : "gives zeros")});
    }
    // Once for a file that is on several loops.
    disk.lowers.push_back(disk.lowers.at(0));
    CHECK(notes_on_files(disk, kernel).size() == 1);
    disk.lowers.pop_back();
    disk.lowers.at(0).loop->missing = Bytes(0);
    disk.lowers.at(0).loop->backing_file += " (deleted)";
    CHECK(notes_on_files(disk, kernel) ==
          std::vector<std::string>{concat("'", data,
                                          "' has been deleted or replaced since /dev/mapper/web was "
                                          "attached: what is shown is the old file, until it is detached")});
    disk.lowers.at(0).exception_store = true;
    CHECK(notes_on_files(disk, kernel).empty());
}

TEST_CASE("disks are listed by name, partitions by number, others' devices not at all") {
    const TempDir directory;
    directory.write_hole("data", 8192);
    FakeMachine machine;
    for (const unsigned number : {10, 9, 1}) {
        Partition partition;
        partition.number = number;
        partition.size = Sectors(1);
        machine.partitions.push_back(partition);
    }
    {
        FakeKernel kernel(machine);
        kernel.create_device("aaa", "LVM-x");
        kernel.create_device("nameless", "");
    }
    attach_image(machine, directory.write("z.vmdk", "version=1\nRW 8 FLAT \"data\" 0\n"), "z");
    const auto disks =
        attach_image(machine, directory.write("b.vmdk", "version=1\nRW 8 FLAT \"data\" 0\n"), "b");
    REQUIRE(disks.size() == 2);
    CHECK(disks[0].device.name == "b");
    CHECK(disks[1].device.name == "z");
    REQUIRE(disks[0].partitions.size() == 3);
    CHECK(disks[0].partitions[0].number == 1);
    CHECK(disks[0].partitions[2].number == 10);
}

TEST_CASE("an image whose path is too long for the kernel is found near its files") {
    const TempDir directory;
    const std::string deep = "a-directory-with-a-name/that-is-longer/than-the-kernel/keeps-of-a-loop/";
    directory.write_hole(deep + "extents/data", 4096);
    const std::string path = directory.write(deep + "web.vmdk", "version=1\nRW 8 FLAT \"extents/data\" 0\n");
    REQUIRE(path.size() > 63);
    FakeMachine machine;
    CHECK(attach_image(machine, path, "web").at(0).image == path);
}

TEST_CASE("an image that was renamed is found under its new name, one that is gone is not") {
    const TempDir directory;
    directory.write_hole("data", 4096);
    const std::string path = directory.write("web.vmdk", "version=1\nRW 8 FLAT \"data\" 0\n");
    FakeMachine machine;
    attach_image(machine, path, "web");
    FakeKernel kernel(machine);
    fs::rename(path, directory.path("new.vmdk"));
    CHECK(list_attached(kernel).at(0).image == directory.path("new.vmdk"));
    fs::rename(directory.path("new.vmdk"), directory.path("newer.vmdk"));
    // Another file in its old place is not taken for it.
    directory.write("web.vmdk", "version=1\n");
    CHECK(list_attached(kernel).at(0).image == directory.path("newer.vmdk"));
    fs::remove(directory.path("newer.vmdk"));
    CHECK(list_attached(kernel).at(0).image == std::nullopt);
}

TEST_CASE("nothing attached is an empty list") {
    FakeMachine machine;
    FakeKernel kernel(machine);
    CHECK(list_attached(kernel).empty());
}

AttachedOverlay overlay_with(std::uint64_t used, std::uint64_t limit,
                             std::optional<std::uint64_t> room = {}) {
    AttachedOverlay overlay;
    overlay.used = Bytes(used);
    overlay.limit = Bytes(limit);
    if (room) overlay.room = Bytes(*room);
    return overlay;
}

TEST_CASE("how much of an overlay is used is of its limit, or of what there is room for") {
    constexpr std::uint64_t gib = 1 << 30;
    CHECK(percent_used(overlay_with(0, gib)) == 0);
    CHECK(percent_used(overlay_with(gib / 2, gib, 100 * gib)) == 50);
    CHECK(percent_used(overlay_with(gib, 10 * gib, 3 * gib)) == 25);
    CHECK(reachable_limit(overlay_with(gib, 10 * gib, 3 * gib)) == Bytes(4 * gib));
    CHECK(percent_used(overlay_with(gib, gib, 0)) == 100);
    CHECK(percent_used(overlay_with(0, gib, 0)) == 100);
}

TEST_CASE("an overlay is low by percentage, or when there is next to no room") {
    constexpr std::uint64_t mib = 1 << 20;
    CHECK(condition_of(overlay_with(89 * mib, 100 * mib), 90) == OverlayCondition::ok);
    CHECK(condition_of(overlay_with(90 * mib, 100 * mib), 90) == OverlayCondition::low);
    CHECK(condition_of(overlay_with(50 * mib, 100 * mib), 50) == OverlayCondition::low);
    CHECK(condition_of(overlay_with(1 * mib, 1000 * mib, 64 * mib), 90) == OverlayCondition::ok);
    CHECK(condition_of(overlay_with(1 * mib, 1000 * mib, 63 * mib), 90) == OverlayCondition::low);
    // Room for all that it may still want.
    CHECK(condition_of(overlay_with(50 * mib, 100 * mib, 60 * mib), 90) == OverlayCondition::ok);
    AttachedOverlay full = overlay_with(100 * mib, 100 * mib);
    full.state = SnapshotState::overflowed;
    CHECK(condition_of(full, 90) == OverlayCondition::overflowed);
    full.state = SnapshotState::invalid;
    CHECK(condition_of(full, 90) == OverlayCondition::invalid);
}

}  // namespace
}  // namespace vmdkdm
