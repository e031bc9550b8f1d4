#include "attach/detach.h"

#include <catch2/catch.hpp>

#include "attach/attach.h"
#include "base/concat.h"
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

// A machine with an attached disk `web` of two partitions.
struct Machine : FakeMachine {
    Machine() {
        const FilePtr file = files.add_hole("/vm/a", Bytes(512 * 1000));
        know(*file);
        BlockMap::Builder builder;
        builder.append(Sectors(1000), Stored{builder.add_file(file, 0), Sectors(0)});
        PlanOptions plan_options;
        plan_options.direct_io = [](const File&) { return true; };
        plan_options.name = "web";
        plan_options.id = "fd00.1";
        Partition partition;
        partition.number = 1;
        partition.size = Sectors(100);
        partitions.push_back(partition);
        partition.number = 2;
        partition.start = Sectors(100);
        partitions.push_back(partition);
        attach(make_plan(std::move(builder).build(), plan_options), {}, kernel, notes);
    }

    AttachedDisk disk() { return list_attached(kernel).at(0); }
    Failure detach(const DetachOptions& options = {}) {
        return failure_of([&] { vmdkdm::detach(disk(), options, kernel, notes); });
    }

    test::MemoryFiles files;
    FakeKernel kernel{*this};
    std::vector<std::string> notes;
};

const Failure none{ErrorKind::system, "(no error)"};
constexpr const char* attached_machine =
    "loop0 on /vm/a\ndevice web VMDK-fd00.1-disk\ndevice web1 part1-VMDK-fd00.1-disk\n"
    "device web2 part2-VMDK-fd00.1-disk\n";

// The same on a snapshot.
struct SnapshotMachine : FakeMachine {
    SnapshotMachine() {
        const FilePtr file = files.add_hole("/vm/a", Bytes(512 * 1000));
        know(*file);
        BlockMap::Builder builder;
        builder.append(Sectors(992), Zero{0});
        builder.append(Sectors(8), Stored{builder.add_file(file, 0), Sectors(8)});
        PlanOptions plan_options;
        plan_options.direct_io = [](const File&) { return true; };
        plan_options.name = "web";
        plan_options.id = "fd00.1";
        plan_options.strategy = Strategy::exceptions;
        AttachOptions options;
        options.run_dir = directory.path("run");
        attach(make_plan(std::move(builder).build(), plan_options), options, kernel, notes);
    }
    Failure detach(const DetachOptions& options = {}) {
        return failure_of([&] { vmdkdm::detach(list_attached(kernel).at(0), options, kernel, notes); });
    }

    test::TempDir directory;
    test::MemoryFiles files;
    FakeKernel kernel{*this};
    std::vector<std::string> notes;
};

DetachOptions deferred() {
    DetachOptions options;
    options.deferred = true;
    return options;
}

TEST_CASE("a detach removes partitions, disk and loops, and waits for udev") {
    Machine machine;
    CHECK(machine.detach() == none);
    CHECK(machine.is_clean());
    CHECK(machine.unsettled_events == 0);
    CHECK(machine.notes.empty());
}

TEST_CASE("somebody who looks below the disk keeps all of it attached") {
    SnapshotMachine machine;
    machine.open_by(machine.number_of("web-origin"), Holder::Kind::mount, "mounted at '/mnt'");
    CHECK(machine.detach() ==
          Failure{ErrorKind::busy, "/dev/mapper/web-origin is in use: mounted at '/mnt' (see --deferred)"});
    CHECK(machine.devices.size() == 4);
    machine.close_user("mounted at '/mnt'");
    CHECK(machine.detach() == none);
    CHECK(machine.is_clean());
}

TEST_CASE("a deferred detach takes along what is below the disk") {
    SnapshotMachine machine;
    machine.open_by(machine.number_of("web"), Holder::Kind::mount, "mounted at '/mnt'");
    CHECK(machine.detach(deferred()) == none);
    CHECK(machine.devices.size() == 4);
    machine.close_user("mounted at '/mnt'");
    CHECK(machine.is_clean());
}

TEST_CASE("a mounted partition is named, and nothing has been removed") {
    Machine machine;
    machine.open_by(machine.number_of("web1"), Holder::Kind::mount, "mounted at '/mnt'");
    CHECK(machine.detach() ==
          Failure{ErrorKind::busy, "/dev/mapper/web1 is in use: mounted at '/mnt' (see --deferred)"});
    CHECK(machine.describe() == attached_machine);
    // A mount does not go by itself, so it is not waited for.
    CHECK(machine.paused_ms == 0);
    machine.close_user("mounted at '/mnt'");
    CHECK(machine.detach() == none);
    CHECK(machine.is_clean());
}

TEST_CASE("a disk that is mounted whole is named; its own partitions are not") {
    Machine machine;
    machine.open_by(machine.number_of("web"), Holder::Kind::mount, "mounted at '/mnt'");
    CHECK(machine.detach() ==
          Failure{ErrorKind::busy, "/dev/mapper/web is in use: mounted at '/mnt' (see --deferred)"});
    CHECK(machine.describe() == attached_machine);
}

TEST_CASE("everybody who uses a partition is named") {
    Machine machine;
    machine.open_by(machine.number_of("web2"), Holder::Kind::mount, "mounted at '/mnt'");
    machine.open_by(machine.number_of("web2"), Holder::Kind::swap, "swap space");
    machine.open_by(machine.number_of("web2"), Holder::Kind::process, "process 7 (dd)");
    CHECK(machine.detach() ==
          Failure{ErrorKind::busy,
                  "/dev/mapper/web2 is in use: mounted at '/mnt', swap space, process 7 (dd) "
                  "(see --deferred)"});
}

TEST_CASE("a device of somebody else on top of a partition is named") {
    Machine machine;
    machine.kernel.create_device("vg-root", "LVM-x");
    machine.kernel.load_table(
        "vg-root", Table({{Sectors(0), Sectors(8), LinearTarget{machine.number_of("web2"), Sectors(0)}}}),
        true);
    machine.kernel.resume_device("vg-root", DeviceRole::quarantined);
    CHECK(
        machine.detach() ==
        Failure{ErrorKind::busy, "/dev/mapper/web2 is in use: dm device 'vg-root' (see vmdk-dm deactivate)"});
    CHECK(machine.devices.size() == 4);
}

TEST_CASE("a process that has it open for a moment is waited for") {
    Machine machine;
    machine.open_by(machine.number_of("web1"), Holder::Kind::process, "process 7 (udev-worker)");
    machine.on_pause = [&] {
        if (machine.paused_ms >= 100) machine.close_user("process 7 (udev-worker)");
    };
    CHECK(machine.detach() == none);
    CHECK(machine.is_clean());
    CHECK(machine.paused_ms == 100);
}

TEST_CASE("a process that does not go is named when patience ends, and nothing has been removed") {
    Machine machine;
    machine.open_by(machine.number_of("web1"), Holder::Kind::process, "process 7 (dd)");
    CHECK(machine.detach() ==
          Failure{ErrorKind::busy, "/dev/mapper/web1 is in use: process 7 (dd) (see --deferred)"});
    CHECK(machine.paused_ms == 5000);
    CHECK(machine.describe() == attached_machine);
}

TEST_CASE("a user that cannot be seen is waited for and then said to be unknown") {
    Machine machine;
    struct Blind : FakeKernel {
        using FakeKernel::FakeKernel;
        std::vector<Holder> holders(DeviceNumber) override { return {}; }
    } blind(machine);
    machine.open_by(machine.number_of("web1"), Holder::Kind::process, "hidden");
    DetachOptions options;
    options.patience_ms = 40;
    CHECK(failure_of([&] { detach(machine.disk(), options, blind, machine.notes); }) ==
          Failure{ErrorKind::busy,
                  "/dev/mapper/web1 is in use: something that cannot be named (another process "
                  "namespace?) (see --deferred)"});
}

TEST_CASE("a device that is busy only when it is removed is tried again") {
    Machine machine;
    const AttachedDisk disk = machine.disk();
    // Three calls look at devices (list) before the first removal.
    machine.kernel.fail_at(machine.kernel.calls() + 2, ErrorKind::busy);
    detach(disk, {}, machine.kernel, machine.notes);
    CHECK(machine.is_clean());
    CHECK(machine.paused_ms == 20);
}

TEST_CASE("a device that is gone already is no error") {
    Machine machine;
    const AttachedDisk disk = machine.disk();
    machine.kernel.remove_device("web2");
    CHECK(failure_of([&] { detach(disk, {}, machine.kernel, machine.notes); }) == none);
    CHECK(machine.is_clean());
}

TEST_CASE("a deferred detach of what is unused is done at once") {
    Machine machine;
    CHECK(machine.detach(deferred()) == none);
    CHECK(machine.is_clean());
}

TEST_CASE("a deferred detach of what is mounted ends with the umount") {
    Machine machine;
    machine.open_by(machine.number_of("web1"), Holder::Kind::mount, "mounted at '/mnt'");
    CHECK(machine.detach(deferred()) == none);
    CHECK(machine.describe() ==
          "loop0 on /vm/a\ndevice web VMDK-fd00.1-disk to be removed\n"
          "device web1 part1-VMDK-fd00.1-disk to be removed\n");
    machine.close_user("mounted at '/mnt'");
    CHECK(machine.is_clean());
}

TEST_CASE("a loop that is open elsewhere is noted, not waited for without end") {
    Machine machine;
    machine.open_by({7, 0}, Holder::Kind::process, "process 7 (dd)");
    CHECK(machine.detach() == none);
    CHECK(machine.devices.empty());
    CHECK(machine.notes == std::vector<std::string>{
                               "/dev/loop0 is still open elsewhere; it is cleared when it is closed there"});
    machine.close_user("process 7 (dd)");
    CHECK(machine.is_clean());
}

TEST_CASE("whichever call of a detach fails, another detach completes it") {
    for (unsigned call = 1;; ++call) {
        Machine machine;
        const AttachedDisk disk = machine.disk();
        const unsigned before = machine.kernel.calls();
        machine.kernel.fail_at(before + call);
        const Failure failure = failure_of([&] { detach(disk, {}, machine.kernel, machine.notes); });
        if (machine.kernel.calls() < before + call) break;
        INFO(failure.text);
        if (!machine.devices.empty()) CHECK(machine.detach() == none);
        CHECK(machine.is_clean());
    }
}

}  // namespace
}  // namespace vmdkdm
