#include "stack/volume.h"

#include <catch2/catch.hpp>

#include "kernel/owners.h"
#include "plan/names.h"
#include "support/failure.h"
#include "unit/fake_kernel.h"

namespace vmdkdm {
namespace {

using namespace test;

// A disk "web" with two partitions, both PVs of vg0, whose volume "ro-ot" lies on both.
class Machine {
  public:
    Machine() {
        machine.disks[{8, 0}] = Sectors(1000);
        make("web", disk_uuid("1.2"),
             {{Sectors(0), Sectors(1000), LinearTarget{DeviceNumber{8, 0}, Sectors(0)}}});
        const DeviceNumber disk = machine.number_of("web");
        make("web1", partition_uuid("1.2", 1), {{Sectors(0), Sectors(100), LinearTarget{disk, Sectors(10)}}});
        make("web2", partition_uuid("1.2", 2),
             {{Sectors(0), Sectors(100), LinearTarget{disk, Sectors(200)}}});
        make("web-vg0-ro--ot", logical_volume_uuid("1.2", "abc"),
             {{Sectors(0), Sectors(10), LinearTarget{machine.number_of("web1"), Sectors(0)}},
              {Sectors(10), Sectors(10), LinearTarget{machine.number_of("web2"), Sectors(0)}}});
        machine.contents["web1"] = {"LVM2_member", "raid", "", "pv1", "LVM2 001"};
        machine.contents["web-vg0-ro--ot"] = {"ext4", "filesystem", "root", "u", "1.0"};
    }

    Volume look() { return survey(list_attached(kernel).at(0), kernel); }

    FakeMachine machine;
    FakeKernel kernel{machine};

  private:
    void make(const std::string& name, const std::string& uuid, TableLines lines) {
        MappedDevice device =
            MappedDevice::create(kernel, name, uuid, Table(std::move(lines)), true, DeviceRole::quarantined);
        device.cancel_removal();
        device.release();
    }
};

TEST_CASE("a survey shows what lies on what, a volume on two partitions below each") {
    Machine machine;
    const Volume disk = machine.look();
    CHECK(disk.name == "web");
    CHECK(disk.size == to_bytes(Sectors(1000)));
    REQUIRE(disk.children.size() == 2);
    for (const Volume& partition : disk.children) {
        CHECK(partition.kind == VolumeKind::partition);
        REQUIRE(partition.children.size() == 1);
        CHECK(partition.children[0].kind == VolumeKind::logical_volume);
        CHECK(partition.children[0].name == "vg0/ro-ot");
        CHECK(partition.children[0].path == "/dev/mapper/web-vg0-ro--ot");
        CHECK(partition.children[0].content->type == "ext4");
    }
    CHECK(disk.children[0].content->type == "LVM2_member");
    CHECK_FALSE(disk.children[1].content);
}

TEST_CASE("bottom up: each volume once, behind all that it lies on") {
    Machine machine;
    const Volume disk = machine.look();
    std::vector<std::string> names;
    for (const Volume* volume : bottom_up(disk)) names.push_back(volume->name);
    CHECK(names == std::vector<std::string>{"web", "web1", "web2", "vg0/ro-ot"});
}

TEST_CASE("a volume is found by number, name, VG/LV, device name or path") {
    Machine machine;
    const Volume disk = machine.look();
    CHECK(find_volume(disk, "")->name == "web");
    CHECK(find_volume(disk, "2")->name == "web2");
    CHECK(find_volume(disk, "web1")->name == "web1");
    for (const char* lv : {"vg0/ro-ot", "web-vg0-ro--ot", "/dev/mapper/web-vg0-ro--ot"})
        CHECK(find_volume(disk, lv)->name == "vg0/ro-ot");
    CHECK(find_volume(disk, "3") == nullptr);
    CHECK(find_volume(disk, "vg0") == nullptr);
}

TEST_CASE("a volume above is no part of its disk: list_attached leaves it out") {
    Machine machine;
    const AttachedDisk disk = list_attached(machine.kernel).at(0);
    CHECK(disk.partitions.size() == 2);
    CHECK(disk.inner.empty());
}

}  // namespace
}  // namespace vmdkdm
