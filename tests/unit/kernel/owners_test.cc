#include "kernel/owners.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "unit/fake_kernel.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::FakeKernel;
using test::FakeMachine;

struct Machine : FakeMachine {
    Machine() { know(*file); }
    LoopDevice loop(Kernel& kernel) const {
        LoopConfig config;
        config.file_path = file->path();
        FreeLoops free(kernel);
        return LoopDevice::attach(kernel, free, config);
    }
    test::MemoryFiles files;
    FilePtr file = files.add_hole("/vm/a", Bytes(512 * 100));
};

Table table_over(DeviceNumber lower, std::uint64_t length = 100) {
    return Table({{Sectors(0), Sectors(length), LinearTarget{lower, Sectors(0)}}});
}

TEST_CASE("a loop is cleared when its owner goes") {
    Machine machine;
    FakeKernel kernel(machine);
    {
        const LoopDevice loop = machine.loop(kernel);
        CHECK(machine.loops.size() == 1);
        CHECK(loop.device() == DeviceNumber{7, 0});
    }
    CHECK(machine.is_clean());
}

TEST_CASE("a loop that a mapped device uses stays until that goes") {
    Machine machine;
    FakeKernel kernel(machine);
    {
        const LoopDevice loop = machine.loop(kernel);
        MappedDevice device = MappedDevice::create(kernel, "web", "u", table_over(loop.device()), true,
                                                   DeviceRole::quarantined);
        device.cancel_removal();
        device.release();
    }
    CHECK(machine.describe() == "loop0 on /vm/a\ndevice web u\n");
    kernel.remove_device("web");
    CHECK(machine.is_clean());
}

TEST_CASE("when another process takes a loop number first, the next ones are tried") {
    Machine machine;
    FakeKernel kernel(machine);
    machine.loop_thieves = 2;
    const LoopDevice loop = machine.loop(kernel);
    CHECK(loop.device() == DeviceNumber{7, 2});
    CHECK(machine.loops.size() == 1);
}

TEST_CASE("free loop numbers are given once each, and those that are bound are left out") {
    Machine machine;
    FakeKernel kernel(machine);
    const LoopDevice first = machine.loop(kernel);
    FreeLoops free(kernel);
    CHECK(free.next() == 1);
    const LoopDevice second = machine.loop(kernel);
    CHECK(free.next() == 2);
}

TEST_CASE("63 lost races are borne, 64 are an error") {
    Machine machine;
    FakeKernel kernel(machine);
    machine.loop_thieves = 63;
    { const LoopDevice loop = machine.loop(kernel); }
    machine.loop_thieves = 64;
    CHECK(failure_of([&] { machine.loop(kernel); }) ==
          Failure{ErrorKind::busy,
                  "loop device for '/vm/a': cannot configure /dev/loop63: Device or resource busy"});
    CHECK(machine.is_clean());
}

TEST_CASE("a loop that fails otherwise is not tried again") {
    Machine machine;
    FakeKernel kernel(machine);
    kernel.fail_at(2);
    CHECK(failure_of([&] { machine.loop(kernel); }) ==
          Failure{ErrorKind::system, "loop device for '/vm/a': call 2, configure_loop, failed"});
    CHECK(kernel.log() == std::vector<std::string>{"free_loop", "configure_loop"});
    CHECK(machine.is_clean());
}

TEST_CASE("a mapped device is marked for removal before it has its table, and until it is kept") {
    Machine machine;
    FakeKernel kernel(machine);
    const LoopDevice loop = machine.loop(kernel);
    {
        MappedDevice device = MappedDevice::create(kernel, "web", "u", table_over(loop.device()), true,
                                                   DeviceRole::quarantined);
        CHECK(machine.device("web").deferred_remove);
        CHECK(machine.device("web").live == table_over(loop.device()));
        CHECK(machine.device("web").live_read_only);
        const MappedDevice moved(std::move(device));
        CHECK(moved.name() == "web");
    }
    CHECK(machine.devices.empty());
}

TEST_CASE("a mapped device that fails to be made leaves nothing, whichever call fails") {
    for (unsigned call = 1;; ++call) {
        Machine machine;
        FakeKernel kernel(machine);
        const LoopDevice loop = machine.loop(kernel);
        const unsigned before = kernel.calls();
        kernel.fail_at(before + call);
        const Failure failure = failure_of([&] {
            MappedDevice::create(kernel, "web", "u", table_over(loop.device()), true,
                                 DeviceRole::quarantined);
        });
        CHECK(machine.devices.empty());
        if (failure.text == "(no error)") {
            CHECK(call == 8);
            break;
        }
        CHECK(failure.text == concat("device 'web': call ", before + call, ", ",
                                     kernel.log()[before + call - 1], ", failed"));
    }
}

TEST_CASE("a table that the kernel refuses leaves no device") {
    Machine machine;
    FakeKernel kernel(machine);
    const LoopDevice loop = machine.loop(kernel);
    CHECK(failure_of([&] {
              MappedDevice::create(kernel, "web", "u", table_over(loop.device(), 101), true,
                                   DeviceRole::quarantined);
          }) == Failure{ErrorKind::system, "device 'web': table load: Invalid argument"});
    CHECK(machine.devices.empty());
}

TEST_CASE("a device that somebody looks at when it is to go, goes when they are done") {
    Machine machine;
    FakeKernel kernel(machine);
    const LoopDevice loop = machine.loop(kernel);
    MappedDevice device =
        MappedDevice::create(kernel, "web", "u", table_over(loop.device()), true, DeviceRole::quarantined);
    machine.open_by(device.device(), Holder::Kind::process, "process 7 (udev-worker)");
    CHECK_FALSE(device.remove());
    CHECK(machine.device("web").deferred_remove);
    machine.close_user("process 7 (udev-worker)");
    CHECK(machine.devices.empty());
}

TEST_CASE("a released device stays") {
    Machine machine;
    FakeKernel kernel(machine);
    const LoopDevice loop = machine.loop(kernel);
    {
        MappedDevice device = MappedDevice::create(kernel, "web", "u", table_over(loop.device()), true,
                                                   DeviceRole::quarantined);
        device.cancel_removal();
        device.release();
    }
    CHECK(machine.devices.size() == 1);
    CHECK_FALSE(machine.device("web").deferred_remove);
}

}  // namespace
}  // namespace vmdkdm
