#include "attach/attach.h"

#include <fcntl.h>
#include <algorithm>

#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>
#include <sstream>

#include "attach/attached.h"
#include "attach/detach.h"
#include "attach/guard.h"
#include "base/concat.h"
#include "files/confined_opener.h"
#include "files/local_file.h"
#include "plan/names.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/temp_dir.h"
#include "unit/fake_kernel.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::FakeKernel;
using test::FakeMachine;
using test::Killed;

Partition partition(unsigned number, std::uint64_t start, std::uint64_t size, bool extended = false) {
    Partition found;
    found.number = number;
    found.start = Sectors(start);
    found.size = Sectors(size);
    found.extended = extended;
    found.type = "0x83";
    return found;
}

enum class Shape { lines, snapshot, overlay };
constexpr Shape shapes[] = {Shape::lines, Shape::snapshot, Shape::overlay};

// A machine, and an image of two files with a hole between them; or of single grains.
struct Machine : FakeMachine {
    explicit Machine(std::uint32_t logical_sector_size) : Machine(Shape::lines, logical_sector_size) {}
    explicit Machine(Shape shape = Shape::lines, std::uint32_t logical_sector_size = 512) {
        const FilePtr a = files.add_hole("/vm/a", Bytes(512 * 1000));
        const FilePtr b = files.add_hole("/vm/b", Bytes(512 * 1000));
        know(*a);
        know(*b);
        BlockMap::Builder builder;
        PlanOptions plan_options;
        plan_options.direct_io = [](const File&) { return true; };
        if (shape == Shape::overlay) {
            const std::string path = directory.write_hole("overlay", (1 << 19) + (1 << 18));
            const FilePtr file = local_file(path, UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC)));
            plan_options.overlay = OverlayPlan{file, Bytes(1 << 19), Bytes(1 << 18), Sectors(32)};
        }
        if (shape != Shape::snapshot) {
            builder.append(Sectors(1000), Stored{builder.add_file(a, 0), Sectors(0)});
            builder.append(Sectors(96), Zero{0});
            builder.append(Sectors(904), Stored{builder.add_file(b, 0), Sectors(96)});
        } else {
            builder.append(Sectors(1600), Zero{0});
            builder.append(Sectors(8), Stored{builder.add_file(a, 0), Sectors(16)});
            builder.append(Sectors(384), Zero{0});
            builder.append(Sectors(8), Stored{builder.add_file(b, 0), Sectors(96)});
            plan_options.strategy = Strategy::exceptions;
        }
        plan_options.name = "web";
        plan_options.id = "fd00.1";
        plan_options.logical_sector_size = logical_sector_size;
        plan = make_plan(std::move(builder).build(), plan_options);
        options.image_path = "/vm/web.vmdk";
        options.run_dir = directory.path("run");
        partitions = {partition(1, 64, 100), partition(2, 200, 1800)};
    }

    AttachResult attach(Kernel& kernel) { return vmdkdm::attach(*plan, options, kernel, notes); }
    AttachResult attach() {
        FakeKernel kernel(*this);
        return attach(kernel);
    }
    std::vector<AttachedDisk> list() {
        FakeKernel kernel(*this);
        return list_attached(kernel);
    }
    void detach_all(const DetachOptions& detach_options = {}) {
        FakeKernel kernel(*this);
        for (const AttachedDisk& disk : list_attached(kernel)) detach(disk, detach_options, kernel, notes);
    }

    // What describe() says when it is attached.
    std::string attached() const {
        if (plan->overlay)
            return concat("loop0 on /vm/a\nloop1 on /vm/b\nloop2 on ", directory.path("overlay"),
                          "\ndevice web-base VMDK-fd00.1-base\ndevice web VMDK-fd00.1-disk\n"
                          "device web1 part1-VMDK-fd00.1-disk\ndevice web2 part2-VMDK-fd00.1-disk\n");
        if (plan->inner.empty())
            return "loop0 on /vm/a\nloop1 on /vm/b\ndevice web VMDK-fd00.1-disk\n"
                   "device web1 part1-VMDK-fd00.1-disk\ndevice web2 part2-VMDK-fd00.1-disk\n";
        return concat("loop0 on /vm/a\nloop1 on /vm/b\nloop2 on ", options.run_dir,
                      "\ndevice web-origin VMDK-fd00.1-origin\ndevice web-cow VMDK-fd00.1-cow\n"
                      "device web-grains VMDK-fd00.1-grains\n"
                      "device web VMDK-fd00.1-disk\ndevice web1 part1-VMDK-fd00.1-disk\n"
                      "device web2 part2-VMDK-fd00.1-disk\n");
    }

    test::TempDir directory;
    test::MemoryFiles files;
    std::optional<Plan> plan;
    AttachOptions options;
    std::vector<std::string> notes;
};

std::vector<std::string> paths_of(const AttachResult& result) {
    std::vector<std::string> paths = {result.disk_path};
    for (const PartitionDevice& device : result.partitions) paths.push_back(device.path);
    return paths;
}

TEST_CASE("an attach makes loops, the disk and its partitions, and leaves them without an owner") {
    Machine machine;
    {
        FakeKernel kernel(machine);
        const AttachResult result = machine.attach(kernel);
        CHECK(paths_of(result) ==
              std::vector<std::string>{"/dev/mapper/web", "/dev/mapper/web1", "/dev/mapper/web2"});
        CHECK(result.partitions[1].partition.size == Sectors(1800));
        CHECK(machine.unsettled_events == 0);
    }
    CHECK(machine.describe() == machine.attached());
    CHECK(machine.device("web").live->print() == "0 1000 linear 7:0 0\n1000 96 zero\n1096 904 linear 7:1 96");
    CHECK(machine.device("web1").live->print() == "0 100 linear 254:0 64");
    CHECK(machine.notes.empty());
    machine.detach_all();
    CHECK(machine.is_clean());
    CHECK(machine.unsettled_events == 0);
}

TEST_CASE("an exposed disk is so with its partitions, and what lies below is not") {
    Machine machine(Shape::snapshot);
    machine.options.exposed = true;
    machine.attach();
    CHECK(machine.device("web").role == DeviceRole::exposed);
    CHECK(machine.device("web1").role == DeviceRole::exposed);
    CHECK(machine.device("web-cow").role == DeviceRole::inner);
    CHECK(machine.list().front().exposed == true);
    machine.udev_runs = false;
    CHECK(machine.list().front().exposed == std::nullopt);
}

TEST_CASE("a fragmented disk is a snapshot over devices that udev leaves alone, and a store without a name") {
    Machine machine(Shape::snapshot);
    machine.attach();
    CHECK(machine.describe() == machine.attached());
    CHECK(machine.device("web").live->print() ==
          "0 1600 zero\n1600 8 linear 254:2 1600\n"
          "1608 384 zero\n1992 8 linear 254:2 1992");
    CHECK(machine.device("web-grains").live->print() == "0 2000 snapshot 254:0 254:1 P 8");
    CHECK(machine.device("web-origin").live->print() == "0 2000 zero");
    CHECK(machine.device("web-cow").live->print() ==
          "0 16 linear 7:2 0\n16 1000 linear 7:0 0\n1016 1000 linear 7:1 0");
    CHECK(machine.device("web-cow").role == DeviceRole::inner);
    CHECK(machine.device("web").role == DeviceRole::quarantined);
    // By who reads through the page cache.
    CHECK(machine.device("web").read_ahead == Sectors(2048));
    CHECK(machine.device("web1").read_ahead == Sectors(2048));
    CHECK_FALSE(machine.device("web-cow").read_ahead);
    CHECK(machine.list().front().exposed == false);
    for (const auto& [number, loop] : machine.loops) CHECK(loop.config.read_only);
    for (const auto& [minor, device] : machine.devices) CHECK(device.live_read_only);
    CHECK(std::filesystem::is_empty(machine.options.run_dir));
    const std::vector<AttachedDisk> disks = machine.list();
    REQUIRE(disks.size() == 1);
    CHECK(disks[0].device.name == "web");
    CHECK(disks[0].capacity == Sectors(2000));
    REQUIRE(disks[0].inner.size() == 3);
    REQUIRE(disks[0].lowers.size() == 3);
    CHECK_FALSE(disks[0].lowers[0].exception_store);
    CHECK(disks[0].lowers[2].exception_store);
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("a disk with an overlay is writable, what it lies on is not, and list says how full it is") {
    Machine machine(Shape::overlay);
    machine.snapshot_status = {SnapshotState::usable, Sectors(128), Sectors(512)};
    machine.attach();
    CHECK(machine.describe() == machine.attached());
    CHECK(machine.device("web").live->print() == "0 2000 snapshot 254:0 7:2 PO 32");
    for (const std::string name : {"web", "web1", "web2"}) CHECK_FALSE(machine.device(name).live_read_only);
    CHECK(machine.device("web-base").live_read_only);
    CHECK(machine.device("web-base").role == DeviceRole::inner);
    for (const unsigned loop : {0U, 1U}) CHECK(machine.loops.at(loop).config.read_only);
    const LoopConfig& config = machine.loops.at(2).config;
    CHECK_FALSE(config.read_only);
    CHECK(config.offset == Bytes(1 << 19));
    CHECK(config.file_fd == machine.plan->lowers[2].file->fd());

    machine.rooms[machine.directory.path("overlay")] = Bytes(1 << 30);
    const std::vector<AttachedDisk> disks = machine.list();
    REQUIRE(disks.size() == 1);
    REQUIRE(disks[0].lowers.size() == 3);
    CHECK(disks[0].lowers[2].overlay);
    REQUIRE(disks[0].overlay);
    CHECK(disks[0].overlay->used == Bytes(65536));
    CHECK(disks[0].overlay->room == Bytes(1 << 30));
    CHECK_FALSE(disks[0].overlay->scratch);
    machine.detach_all();
    CHECK(machine.is_clean());
    CHECK(machine.notes.empty());
}

TEST_CASE("an overlay that another loop device has is refused") {
    Machine machine(Shape::overlay);
    FakeKernel kernel(machine);
    LoopConfig config;
    config.file_fd = machine.plan->lowers[2].file->fd();
    const HeldDevicePtr other = kernel.configure_loop(5, config);
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, concat("the overlay '", machine.directory.path("overlay"),
                                          "' is in use by /dev/loop5 (see vmdk-dm list)")});
}

TEST_CASE("an overlay that cannot be found any more is detached with a note") {
    Machine machine(Shape::overlay);
    machine.attach();
    std::filesystem::remove(machine.directory.path("overlay"));
    machine.detach_all();
    CHECK(machine.is_clean());
    CHECK(machine.notes == std::vector<std::string>{concat(
                               "the overlay '", machine.directory.path("overlay"),
                               "' cannot be opened, so whether all of it is on the disk is not known")});
}

TEST_CASE("what is left below a disk that somebody removed is listed and can be detached") {
    Machine machine(Shape::snapshot);
    machine.partitions.clear();
    machine.attach();
    {
        FakeKernel kernel(machine);
        kernel.remove_device("web");
    }
    REQUIRE(machine.list().size() == 1);
    CHECK(machine.list()[0].device.name == "web-grains");
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("an exception store that cannot be written names the option for its place") {
    Machine machine(Shape::snapshot);
    machine.options.run_dir = machine.directory.path("a/b");
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::not_found,
                  concat("exception store of 8192 bytes in '", machine.options.run_dir,
                         "' (see --run-dir): cannot make the directory: No such file or directory")});
    CHECK(machine.is_clean());
}

TEST_CASE("the name of a device below the disk may be taken") {
    Machine machine(Shape::snapshot);
    FakeKernel kernel(machine);
    kernel.create_device("web-cow", "LVM-x");
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, "the device name 'web-cow' is taken (choose another with --name)"});
}

TEST_CASE("everything is read-only unless the plan says otherwise") {
    Machine machine;
    machine.attach();
    for (const auto& [number, loop] : machine.loops) CHECK(loop.config.read_only);
    for (const auto& [minor, device] : machine.devices) CHECK(device.live_read_only);
    for (const AttachedDisk& disk : machine.list()) CHECK(disk.device.read_only);
}

TEST_CASE("an attach in place opens the files for writing and makes writable devices") {
    const test::TempDir directory;
    FakeMachine machine;
    ConfinedOpener opener({});
    BlockMap::Builder builder;
    const FilePtr file = opener.open_image(directory.write_hole("a", 4096));
    builder.append(Sectors(8), Stored{builder.add_file(file, 0), Sectors(0)});
    PlanOptions options;
    options.direct_io = [](const File&) { return true; };
    options.name = "web";
    options.id = "fd00.1";
    options.in_place = true;
    const Plan plan = make_plan(std::move(builder).build(), options);
    machine.partitions = {partition(1, 1, 2)};
    FakeKernel kernel(machine);
    std::vector<std::string> notes;
    attach(plan, {}, kernel, notes);
    CHECK_FALSE(machine.loops.at(0).config.read_only);
    CHECK(machine.loops.at(0).config.file_fd != file->fd());
    CHECK_FALSE(machine.device("web").live_read_only);
    CHECK_FALSE(machine.device("web1").live_read_only);
}

TEST_CASE("where there are no more loop devices, a large file is read through those that it has") {
    unsigned with_fewer = 0;
    for (unsigned call = 1;; ++call) {
        Machine machine;
        const FilePtr file = machine.files.add_hole("/vm/large", Bytes(64 << 20));
        machine.know(*file);
        BlockMap::Builder builder;
        builder.append(whole_sectors(file->size()), Stored{builder.add_file(file, 0), Sectors(0)});
        PlanOptions options;
        options.name = "web";
        options.id = "fd00.1";
        options.loops = 3;
        machine.plan = make_plan(std::move(builder).build(), options);
        // So that the table shows the loop devices themselves.
        for (LowerPlan& lower : machine.plan->lowers) lower.direct_io = true;
        FakeKernel kernel(machine);
        kernel.fail_at(call);
        try {
            machine.attach(kernel);
        } catch (const Error&) {
            continue;
        }
        const std::string table = machine.device("web").live->print();
        if (machine.loops.size() == 3) {
            CHECK(table ==
                  "0 32768 linear 7:0 0\n32768 32768 linear 7:1 32768\n"
                  "65536 32768 linear 7:2 65536\n98304 32768 linear 7:0 98304");
            break;
        }
        ++with_fewer;
        CHECK(machine.notes == std::vector<std::string>{concat(
                                   "there are fewer loop devices than would be of use, so reads may wait for "
                                   "each other: loop device for '/vm/large': call ",
                                   call, ", ", kernel.log()[call - 1], ", failed")});
        const std::string_view second = machine.loops.size() == 1 ? "7:0" : "7:1";
        CHECK(table == concat("0 32768 linear 7:0 0\n32768 32768 linear ", second,
                              " 32768\n65536 32768 linear 7:0 65536\n98304 32768 linear 7:0 98304"));
    }
    CHECK(with_fewer == 6);
}

std::string without_loop_numbers(const std::string& description) {
    return std::regex_replace(description, std::regex("loop[0-9]+"), "loop");
}

// Failing every call in turn. The kernel must be as it was before, whatever fails.

TEST_CASE("whichever call of an attach fails, nothing is left") {
    for (const auto& [shape, kind] : {std::pair(Shape::lines, ErrorKind::system),
                                      {Shape::lines, ErrorKind::busy},
                                      {Shape::lines, ErrorKind::not_found},
                                      {Shape::snapshot, ErrorKind::system},
                                      {Shape::snapshot, ErrorKind::busy}}) {
        unsigned failures = 0;
        for (unsigned call = 1;; ++call) {
            Machine machine(shape);
            FakeKernel kernel(machine);
            kernel.fail_at(call, kind);
            const Failure failure = failure_of([&] { machine.attach(kernel); });
            if (kernel.calls() < call) break;  // it got through without ever making that call
            INFO("call " << call << ", " << kernel.log()[call - 1] << "\n" << machine.describe());
            if (failure.text == "(no error)") {
                // A lost race for a loop is borne, and udev's silence is no more than a note.
                const bool may_fail =
                    kernel.log()[call - 1] == "settle" ||
                    (kind == ErrorKind::busy && kernel.log()[call - 1] == "configure_loop") ||
                    (kind == ErrorKind::busy && kernel.log()[call - 1] == "loop_device");
                CHECK(may_fail);
                CHECK(without_loop_numbers(machine.describe()) == without_loop_numbers(machine.attached()));
                continue;
            }
            ++failures;
            CHECK(failure.kind == kind);
            CHECK(failure.text.ends_with(concat("call ", call, ", ", kernel.log()[call - 1], ", failed")));
            CHECK(machine.is_clean());
        }
        CHECK(failures > 20);
    }
}

// A process that dies leaves what its open descriptors do not take along: at most one device that is empty
// and unused, made an instant before; or, when it dies in the last steps, an attached disk that can be
// detached.
void check_after_death(Machine& machine) {
    std::size_t empty = 0;
    for (const auto& [minor, device] : machine.devices) {
        if (device.live) continue;
        ++empty;
        CHECK_FALSE(device.deferred_remove);
    }
    CHECK(empty <= 1);
    const bool only_empty = machine.devices.size() == empty;
    if (only_empty) CHECK(machine.loops.empty());
    if (only_empty) {
        // The next attach of the same image clears that away.
        machine.attach();
        CHECK(machine.describe() == machine.attached());
    } else {
        CHECK(machine.list().size() == 1);
    }
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("wherever an attach is killed, nothing but the documented remains") {
    for (const auto& [shape, before] : {std::pair(Shape::lines, true),
                                        {Shape::lines, false},
                                        {Shape::snapshot, true},
                                        {Shape::snapshot, false}}) {
        std::size_t attached = 0;
        std::size_t devices = 0;
        for (unsigned call = 1;; ++call) {
            Machine machine(shape);
            devices = machine.plan->devices().size() + machine.partitions.size();
            FakeKernel kernel(machine);
            before ? kernel.die_before(call) : kernel.die_after(call);
            try {
                machine.attach(kernel);
            } catch (const Killed&) {
            }
            if (!kernel.is_dead()) break;
            INFO("killed " << (before ? "before" : "after") << " call " << call << ", "
                           << kernel.log()[call - 1] << "\n"
                           << machine.describe());
            if (!machine.devices.empty() && machine.devices.begin()->second.live) ++attached;
            check_after_death(machine);
        }
        // Only in the steps that keep it can a killed attach leave a disk with a table: one for each device,
        // and the last settle.
        CHECK(attached <= devices + 1);
    }
}

TEST_CASE("an attach that dies before it keeps its devices leaves no disk with a table") {
    for (const Shape shape : shapes)
        for (unsigned call = 1;; ++call) {
            Machine machine(shape);
            FakeKernel kernel(machine);
            kernel.die_after(call);
            try {
                machine.attach(kernel);
            } catch (const Killed&) {
            }
            REQUIRE(kernel.is_dead());
            if (kernel.log().back() == "cancel_deferred_removal") break;
            INFO("killed after call " << call << ", " << kernel.log()[call - 1]);
            for (const auto& [minor, device] : machine.devices) CHECK_FALSE(device.live);
        }
}

TEST_CASE("when the kernel stops answering altogether, what cannot be undone goes with the process") {
    for (const Shape shape : shapes)
        for (unsigned call = 1;; ++call) {
            Machine machine(shape);
            std::string last;
            {
                FakeKernel kernel(machine);
                kernel.fail_at(call, ErrorKind::system, /*and_all_after=*/true);
                const Failure failure = failure_of([&] { machine.attach(kernel); });
                if (failure.text == "(no error)") break;
                last = kernel.log()[call - 1];
            }
            INFO("from call " << call << ", " << last << "\n" << machine.describe());
            if (last != "cancel_deferred_removal" && last != "settle")
                for (const auto& [minor, device] : machine.devices) CHECK_FALSE(device.live);
        }
}

TEST_CASE("an attach that fails and cannot remove a device says which, and that it goes with its last user") {
    Machine machine;
    // udev looks at the disk just when the first partition fails.
    struct Watching : FakeKernel {
        explicit Watching(FakeMachine& watched) : FakeKernel(watched), machine(watched) {}
        PartitionTable probe_partitions(const HeldDevice&, std::uint32_t) override {
            machine.open_by(machine.number_of("web"), Holder::Kind::process, "process 7 (udev-worker)");
            throw Error(ErrorKind::system, "cannot read");
        }
        FakeMachine& machine;
    } watching(machine);
    CHECK(
        failure_of([&] { machine.attach(watching); }) ==
        Failure{ErrorKind::system, "cannot read (web could not be removed yet; it goes with its last user)"});
    machine.close_user("process 7 (udev-worker)");
    CHECK(machine.is_clean());
}

TEST_CASE("debris of an attach that was killed is removed, and that of others is not") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.create_device("web", disk_uuid("fd00.1"));
    kernel.create_device("web1", partition_uuid("fd00.1", 1));
    kernel.create_device("other", disk_uuid("fd00.2"));
    kernel.create_device("lvm", "LVM-x");
    remove_debris(kernel, "fd00.1");
    CHECK(machine.describe() ==
          "device other VMDK-fd00.2-disk without a table\ndevice lvm LVM-x without a table\n");
}

TEST_CASE("what is left below a disk that is gone is removed before the next attach; not when it is in use") {
    Machine machine(Shape::snapshot);
    machine.partitions.clear();
    machine.attach();
    FakeKernel kernel(machine);
    kernel.remove_device("web");
    const DeviceNumber grains = machine.list()[0].device.device;
    machine.open_by(grains, Holder::Kind::process, "process 7 (dd)");
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, "it is attached already, as /dev/mapper/web-origin"});
    machine.close_user("process 7 (dd)");
    machine.attach();
    CHECK(machine.list()[0].device.name == "web");
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("a device that gets its table while we look is no debris") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.create_device("web", disk_uuid("fd00.1"));
    machine.on_pause = [&] {
        kernel.load_table("web", Table({{Sectors(0), Sectors(1), ErrorTarget{}}}), true);
        kernel.resume_device("web", DeviceRole::quarantined);
    };
    remove_debris(kernel, "fd00.1");
    CHECK(machine.devices.size() == 1);
}

// Clashes.

TEST_CASE("an image that is attached already is refused, naming its device") {
    Machine machine;
    machine.attach();
    machine.plan->disk.name = "other";
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, "it is attached already, as /dev/mapper/web"});
    CHECK(machine.describe() == machine.attached());
}

TEST_CASE("a name that is taken is an error that suggests another") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.create_device("web", "LVM-x");
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, "the device name 'web' is taken (choose another with --name)"});
    CHECK(machine.describe() == "device web LVM-x without a table\n");
}

TEST_CASE("a partition's name that is taken is an error that suggests another, and the disk goes again") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.create_device("web2", "LVM-x");
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy, "the device name 'web2' is taken (choose another with --name)"});
    CHECK(machine.describe() == "device web2 LVM-x without a table\n");
}

TEST_CASE("a device that another process makes at the same time is a clash too") {
    Machine machine;
    // What list_devices() said no longer holds when the device is made: the kernel itself refuses.
    struct Racing : FakeKernel {
        using FakeKernel::FakeKernel;
        unsigned free_loop(unsigned least) override {
            if (std::exchange(first, false)) FakeKernel::create_device("web", "LVM-x");
            return FakeKernel::free_loop(least);
        }
        bool first = true;
    } kernel(machine);
    CHECK(failure_of([&] { machine.attach(kernel); }) ==
          Failure{ErrorKind::busy, "device 'web': create: Device or resource busy"});
    CHECK(machine.describe() == "device web LVM-x without a table\n");
}

// Loops.

TEST_CASE("a loop lost to another process is replaced by the next one") {
    Machine machine;
    machine.loop_thieves = 2;
    machine.attach();
    CHECK(machine.device("web").live->print() == "0 1000 linear 7:2 0\n1000 96 zero\n1096 904 linear 7:3 96");
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("an attach that never gets a loop fails after 64 tries and leaves nothing") {
    Machine machine;
    machine.loop_thieves = 64;
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::busy,
                  "loop device for '/vm/a': cannot configure /dev/loop63: Device or resource busy"});
    CHECK(machine.is_clean());
}

TEST_CASE("files and overlay are read past the page cache where the plan says so") {
    Machine machine(Shape::overlay);
    machine.attach();
    for (unsigned loop = 0; loop < 3; ++loop) CHECK(machine.loops.at(loop).config.direct_io);
    machine.detach_all();
    machine.plan->lowers[1].direct_io = false;
    machine.attach();
    CHECK(machine.loops.at(0).config.direct_io);
    CHECK_FALSE(machine.loops.at(1).config.direct_io);
}

TEST_CASE("files that cannot be read past the page cache are read page by page") {
    Machine machine;
    machine.refuses_direct_io = true;
    machine.attach();
    const std::string pages = "0 1000 striped 1 8 7:0 0\n1000 1000 striped 1 8 7:1 0";
    CHECK(machine.device("web-pages").live->print() == pages);
    CHECK(machine.device("web-pages").role == DeviceRole::inner);
    CHECK(machine.device("web").live->print() ==
          "0 1000 linear 254:0 0\n1000 96 zero\n1096 904 linear 254:0 1096");
    const std::vector<AttachedDisk> disks = machine.list();
    REQUIRE(disks.size() == 1);
    CHECK(disks[0].lowers.size() == 2);
    REQUIRE(disks[0].inner.size() == 1);
    CHECK(disks[0].inner[0].device.name == "web-pages");
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("only those files are") {
    Machine machine;
    machine.plan->lowers[0].direct_io = false;
    machine.attach();
    CHECK(machine.device("web-pages").live->print() == "0 1000 striped 1 8 7:0 0");
    CHECK(machine.device("web").live->print() ==
          "0 1000 linear 254:0 0\n1000 96 zero\n1096 904 linear 7:1 96");
}

TEST_CASE("pages are those of the file, wherever the loop device begins in it and ends") {
    Machine machine;
    machine.plan->lowers[0].direct_io = false;
    machine.plan->lowers[0].offset = Bytes(512 * 3);
    machine.know(*machine.files.add_hole("/vm/a", Bytes(512 * 1010)));
    machine.attach();
    CHECK(machine.device("web-pages").live->print() ==
          "0 5 linear 7:0 0\n5 1000 striped 1 8 7:0 5\n1005 2 linear 7:0 1005");
}

TEST_CASE("an overlay that is read page by page is a device of its own, and list finds its file") {
    Machine machine(Shape::overlay);
    machine.refuses_direct_io = true;
    machine.attach();
    CHECK(machine.device("web-overlay").live->print() == "0 512 striped 1 8 7:2 0");
    CHECK_FALSE(machine.device("web-overlay").live_read_only);
    CHECK(machine.device("web-pages").live_read_only);
    CHECK(machine.device("web").live->print() == "0 2000 snapshot 254:2 254:0 PO 32");
    const std::vector<AttachedDisk> disks = machine.list();
    REQUIRE(disks.size() == 1);
    REQUIRE(disks[0].overlay);
    CHECK(disks[0].overlay->loop.backing_file == machine.directory.path("overlay"));
    CHECK(disks[0].overlay->limit == Bytes(1 << 18));
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("a thousand files attach and detach") {
    FakeMachine machine;
    test::MemoryFiles files;
    BlockMap::Builder builder;
    for (int i = 0; i < 1000; ++i) {
        const FilePtr file = files.add_hole(concat("/vm/f", i), Bytes(4096));
        machine.know(*file);
        builder.append(Sectors(8), Stored{builder.add_file(file, 0), Sectors(0)});
    }
    PlanOptions options;
    options.direct_io = [](const File&) { return true; };
    options.name = "big";
    options.id = "fd00.1";
    const Plan plan = make_plan(std::move(builder).build(), options);
    FakeKernel kernel(machine);
    std::vector<std::string> notes;
    attach(plan, {}, kernel, notes);
    CHECK(machine.loops.size() == 1000);
    CHECK(machine.device("big").live->length() == Sectors(8000));
    const std::vector<AttachedDisk> disks = list_attached(kernel);
    REQUIRE(disks.size() == 1);
    CHECK(disks[0].lowers.size() == 1000);
    detach(disks[0], {}, kernel, notes);
    CHECK(machine.is_clean());
}

TEST_CASE("a block device is used as it is, by its number") {
    FakeMachine machine;
    test::MemoryFiles files;
    const FilePtr device = files.add_hole("/dev/sdx", Bytes(512 * 100), FileKind::block_device);
    machine.disks[{8, 0}] = Sectors(100);
    BlockMap::Builder builder;
    builder.append(Sectors(37), Stored{builder.add_file(device, 0), Sectors(63)});
    PlanOptions options;
    options.direct_io = [](const File&) { return true; };
    options.name = "raw";
    options.id = "fd00.1";
    const Plan plan = make_plan(std::move(builder).build(), options);
    FakeKernel kernel(machine);
    std::vector<std::string> notes;
    attach(plan, {}, kernel, notes);
    CHECK(machine.loops.empty());
    CHECK(machine.device("raw").live->print() == "0 37 linear 8:0 63");
}

// Partitions.

TEST_CASE("partitions keep the numbers and the order of the table") {
    Machine machine;
    machine.partitions = {partition(1, 64, 8), partition(5, 100, 8), partition(128, 200, 8)};
    CHECK(paths_of(machine.attach()) == std::vector<std::string>{"/dev/mapper/web", "/dev/mapper/web1",
                                                                 "/dev/mapper/web5", "/dev/mapper/web128"});
    CHECK(machine.device("web128").uuid == "part128-VMDK-fd00.1-disk");
}

TEST_CASE("partitions may be left alone") {
    Machine machine;
    machine.options.partitions = false;
    CHECK(paths_of(machine.attach()) == std::vector<std::string>{"/dev/mapper/web"});
    CHECK(machine.devices.size() == 1);
}

TEST_CASE("a delimiter takes the place of kpartx's rule") {
    Machine machine;
    machine.options.partition_delimiter = "-part";
    CHECK(paths_of(machine.attach())[1] == "/dev/mapper/web-part1");
    Machine digit;
    digit.plan->disk.name = "disk0";
    CHECK(paths_of(digit.attach())[1] == "/dev/mapper/disk0p1");
}

TEST_CASE("a partition beyond the end of the disk is left out or cut, and a note says so") {
    Machine machine;
    machine.partitions = {partition(1, 64, 8),
                          partition(2, 1999, 1),
                          partition(3, 1990, 11),
                          partition(4, 2000, 8),
                          partition(5, 100, ~std::uint64_t{0}),
                          partition(6, 100, 0),
                          partition(7, ~std::uint64_t{0}, 1)};
    machine.attach();
    CHECK(machine.device("web2").live->length() == Sectors(1));
    CHECK(machine.device("web3").live->length() == Sectors(10));
    CHECK(machine.device("web5").live->length() == Sectors(1900));
    CHECK(machine.devices.size() == 5);
    CHECK(machine.notes ==
          std::vector<std::string>{"partition 3 reaches beyond the end of the disk and is cut",
                                   "partition 4 lies beyond the end of the disk and is left out",
                                   "partition 5 reaches beyond the end of the disk and is cut",
                                   "partition 6 lies beyond the end of the disk and is left out",
                                   "partition 7 lies beyond the end of the disk and is left out"});
}

TEST_CASE("of thousands of partitions 256 become devices, and a note says how many do not") {
    Machine machine;
    machine.partitions.clear();
    for (unsigned number = 1; number <= 257; ++number)
        machine.partitions.push_back(partition(number, number, 1));
    const AttachResult result = machine.attach();
    CHECK(result.partitions.size() == 256);
    CHECK(result.partitions.back().partition.number == 256);
    CHECK(machine.devices.size() == 257);
    CHECK(machine.notes ==
          std::vector<std::string>{"the disk has 257 partitions; the last 1 are left out (at most "
                                   "256 of a disk are shown)"});
    Machine full;
    full.partitions.clear();
    for (unsigned number = 1; number <= 256; ++number)
        full.partitions.push_back(partition(number, number, 1));
    CHECK(full.attach().partitions.size() == 256);
    CHECK(full.notes.empty());
}

TEST_CASE("a disk whose partition table cannot be read is attached without partitions, and a note says so") {
    Machine machine;
    machine.partitions.clear();
    machine.partitions_unreadable = "Input/output error";
    CHECK(paths_of(machine.attach()) == std::vector<std::string>{"/dev/mapper/web"});
    CHECK(machine.notes ==
          std::vector<std::string>{"the partition table cannot be read (Input/output error), so there are "
                                   "no partitions (see --no-partitions)"});
}

TEST_CASE("an extended partition is its first two sectors, or one of 4096 bytes") {
    Machine machine;
    machine.partitions = {partition(1, 64, 1000, true), partition(2, 1999, 1, true)};
    machine.attach();
    CHECK(machine.device("web1").live->print() == "0 2 linear 254:0 64");
    CHECK(machine.device("web2").live->print() == "0 1 linear 254:0 1999");
    Machine large(4096);
    large.partitions = {partition(1, 64, 1000, true)};
    large.attach();
    CHECK(large.loops.at(0).config.block_size == 4096);
    CHECK(large.device("web1").live->print() == "0 8 linear 254:0 64");
}

// Interruption and udev.

TEST_CASE("an attach that is interrupted undoes itself") {
    Machine machine;
    machine.interrupted = true;
    CHECK(failure_of([&] { machine.attach(); }) == Failure{ErrorKind::system, "interrupted"});
    CHECK(machine.is_clean());
}

TEST_CASE("udev's silence is a note, not a failure") {
    Machine machine;
    machine.udev_note = "udev did not answer within 10 s";
    machine.attach();
    CHECK(machine.notes == std::vector<std::string>{"udev did not answer within 10 s"});
    CHECK(machine.describe() == machine.attached());
}

TEST_CASE("a disk that nobody could open is not left behind") {
    Machine machine;
    machine.nodes_are_missing = true;
    CHECK(failure_of([&] { machine.attach(); }) ==
          Failure{ErrorKind::system, "'/dev/mapper/web' is not there"});
    CHECK(machine.is_clean());
}

TEST_CASE("before anything is made to stay, everything stands, and it is said") {
    Machine machine;
    unsigned times = 0;
    machine.options.before_keep = [&] {
        ++times;
        CHECK(machine.devices.size() == 3);
        for (const auto& [minor, device] : machine.devices) {
            CHECK(device.live);
            CHECK(device.deferred_remove);
        }
    };
    machine.attach();
    CHECK(times == 1);
    machine.options.before_keep = [] { throw Error(ErrorKind::system, "no"); };
    machine.detach_all();
    CHECK(failure_of([&] { machine.attach(); }).text == "no");
    CHECK(machine.is_clean());
}

TEST_CASE("the missing partitions of an attached disk are made on it for the moment, and go alone") {
    Machine machine;
    machine.options.partitions = false;
    machine.attach();
    machine.options.partitions = true;
    FakeKernel kernel(machine);
    const auto extend = [&] {
        return attach_partitions(list_attached(kernel).at(0), 512, machine.options, kernel, machine.notes);
    };
    {
        Attachment attachment = extend();
        REQUIRE(attachment.result().partitions.size() == 2);
        CHECK(attachment.result().partitions[1].path == "/dev/mapper/web2");
        CHECK(machine.devices.size() == 3);
        machine.open_by(machine.number_of("web1"), Holder::Kind::mount, "mounted at '/mnt'");
        attachment.leave_to_users();
    }
    CHECK(machine.devices.size() == 2);
    SECTION("a partition that has a device keeps it") {
        CHECK(extend().result().partitions.size() == 2);
        CHECK(machine.devices.size() == 2);
    }
    machine.close_user("mounted at '/mnt'");
    CHECK(machine.devices.size() == 1);
    CHECK_FALSE(machine.device("web").deferred_remove);
    machine.detach_all();
    CHECK(machine.is_clean());
}

TEST_CASE("a failed attach waits for udev too, so that no event is left pending") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.create_device("web2", "LVM-x");
    CHECK_THROWS(machine.attach(kernel));
    CHECK(machine.unsettled_events == 0);
}

}  // namespace
TEST_CASE("udev has dealt with the loops when an attach fails that has made nothing else") {
    Machine machine;
    unsigned first_other = 0;
    {
        FakeKernel kernel(machine);
        machine.attach(kernel);
        const auto call = std::find(kernel.log().begin(), kernel.log().end(), "create_device");
        first_other = static_cast<unsigned>(call - kernel.log().begin()) + 1;
    }
    machine.detach_all();
    FakeKernel kernel(machine);
    kernel.fail_at(first_other);
    CHECK_THROWS(machine.attach(kernel));
    CHECK(machine.unsettled_events == 0);
}

}  // namespace vmdkdm
