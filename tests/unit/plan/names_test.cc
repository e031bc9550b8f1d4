#include "plan/names.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("a device is called after its image") {
    CHECK(default_name("/vm/web.vmdk") == "web");
    CHECK(default_name("web.VMDK") == "web");
    CHECK(default_name("web.img") == "web.img");
    CHECK(default_name("a.vmdk.vmdk") == "a.vmdk");
    CHECK(default_name(".vmdk") == ".vmdk");
    CHECK(default_name("/vm.vmdk/web") == "web");
}

TEST_CASE("what libdevmapper would mangle becomes '_'") {
    CHECK(default_name("my disk (1).vmdk") == "my_disk__1_");
    CHECK(default_name("a#b+c-d.e:f=g@h_i.vmdk") == "a#b+c-d.e:f=g@h_i");
    CHECK(default_name("M\xc3\xbcller.vmdk") == "M__ller");
    check_name(default_name("\x1b[31m.vmdk"));
    CHECK(default_name("--x.vmdk") == "_-x");
}

TEST_CASE("a name that cannot be a device's is refused") {
    check_name("web");
    check_name(std::string(118, 'x'));
    CHECK(failure_of([] { check_name(""); }) == Failure{ErrorKind::usage, "a device name must not be empty"});
    for (const std::string name : {".", "..", "control", "-x", "--config"})
        CHECK(failure_of([&] { check_name(name); }) ==
              Failure{ErrorKind::usage,
                      concat("'", name, "' cannot be a device name (choose another with --name)")});
    const std::string long_name(119, 'x');
    CHECK(failure_of([&] { check_name(long_name); }) ==
          Failure{ErrorKind::usage,
                  concat("the device name '", long_name,
                         "' is 119 bytes long (at most 118; choose a shorter one with --name)")});
    for (const std::string name : {"a/b", "a b", "a\\x20b", "a,b", "\xc3\xbc"})
        CHECK(failure_of([&] { check_name(name); }) ==
              Failure{ErrorKind::usage,
                      concat("the device name '", name, "' holds a character outside A-Z a-z 0-9 #+-.:=@_")});
}

TEST_CASE("partitions are called as kpartx calls them") {
    CHECK(partition_name("web", 1, std::nullopt) == "web1");
    CHECK(partition_name("disk0", 1, std::nullopt) == "disk0p1");
    CHECK(partition_name("web", 128, "-part") == "web-part128");
    CHECK(partition_name("disk0", 1, "") == "disk01");
    // The longest disk name leaves room for the longest partition number.
    CHECK(partition_name(std::string(117, 'x') + "9", 128, std::nullopt).size() == 122);
}

TEST_CASE("a delimiter that makes names that cannot be is refused") {
    check_delimiter("web", "-part");
    check_delimiter("web", "");
    for (const std::string delimiter : {"/", " ", "\\"})
        CHECK(failure_of([&] { check_delimiter("web", delimiter); }) ==
              Failure{ErrorKind::usage, concat("the delimiter '", delimiter,
                                               "' holds a character outside A-Z a-z 0-9 #+-.:=@_")});
    const std::string disk(123, 'x');
    check_delimiter(disk, "p");
    CHECK(failure_of([&] { check_delimiter(disk, "--"); }) ==
          Failure{ErrorKind::usage,
                  "with the delimiter '--' names of partitions are up to 128 bytes long (at most 127)"});
}

TEST_CASE("an image's id is its device and inode, there and back") {
    CHECK(image_id({0xfd00, 0x1234}) == "fd00.1234");
    CHECK(parse_image_id("fd00.1234") == FileIdentity{0xfd00, 0x1234});
    const FileIdentity most{~std::uint64_t{0}, ~std::uint64_t{0}};
    CHECK(parse_image_id(image_id(most)) == most);
    for (const char* id :
         {"", ".", "fd00", "fd00.", ".12", "fd00.12.3", "x.1", "1.-1", "1.10000000000000000"})
        CHECK(parse_image_id(id) == std::nullopt);
}

TEST_CASE("uuids of disk and partitions are made and taken apart") {
    CHECK(disk_uuid("fd00.12") == "VMDK-fd00.12-disk");
    CHECK(partition_uuid("fd00.12", 5) == "part5-VMDK-fd00.12-disk");
    const auto disk = parse_own_uuid("VMDK-fd00.12-disk");
    REQUIRE(disk);
    CHECK(disk->id == "fd00.12");
    CHECK(disk->partition == 0);
    const auto partition = parse_own_uuid("part128-VMDK-fd00.12-disk");
    REQUIRE(partition);
    CHECK(partition->id == "fd00.12");
    CHECK(partition->partition == 128);
    // The longest that there can be fits what the kernel allows (DM_UUID_LEN, 129 with the NUL).
    CHECK(partition_uuid(image_id({~std::uint64_t{0}, ~std::uint64_t{0}}), 4294967295).size() < 129);
}

TEST_CASE("a logical volume above a disk has a UUID that is no part of the disk's") {
    const std::string uuid = logical_volume_uuid("fd00.12", "IwfPRd-3fOc-Gq3G-1I03-Q16R-bHfn-71y2zm");
    CHECK(uuid == "VMDKLV-fd00.12-IwfPRd3fOcGq3G1I03Q16RbHfn71y2zm");
    CHECK_FALSE(parse_own_uuid(uuid));
    CHECK(parse_logical_volume_uuid(uuid) == "fd00.12");
    for (const char* other :
         {"", "VMDKLV-", "VMDKLV--x", "VMDKLV-x", "VMDKLV-x-", "VMDK-fd00.12-disk", "LVM-x-y"})
        CHECK_FALSE(parse_logical_volume_uuid(other));
    const std::string longest = image_id({~std::uint64_t{0}, ~std::uint64_t{0}});
    CHECK(logical_volume_uuid(longest, std::string(32, 'x')).size() < 129);
}

TEST_CASE("hyphens of VG and LV are doubled, so that their names can be told apart again") {
    CHECK(logical_volume_name("web-1", "vg0", "root") == "web-1-vg0-root");
    CHECK(logical_volume_name("web", "vg-0", "s-wap-") == "web-vg--0-s--wap--");
    CHECK(parse_vg_lv("vg0-root") == "vg0/root");
    CHECK(parse_vg_lv("vg--0-s--wap--") == "vg-0/s-wap-");
    CHECK(parse_vg_lv("vg---root") == "vg-/root");
    for (const char* other : {"", "root", "a-b-c", "-root", "vg0-", "a--b"}) CHECK_FALSE(parse_vg_lv(other));
}

TEST_CASE("what is not exactly of our form is not ours") {
    for (const char* uuid :
         {"", "VMDK-", "VMDK--disk", "VMDK-disk", "VMDK-x", "vmdk-x-disk", "LVM-x-disk", "part1",
          "part0-VMDK-x-disk", "part-VMDK-x-disk", "part1x-VMDK-x-disk", "part-1-VMDK-x-disk",
          "part99999999999-VMDK-x-disk", "part1-LVM-x-disk", "xpart1-VMDK-x-disk"})
        CHECK_FALSE(parse_own_uuid(uuid));
}

}  // namespace
}  // namespace vmdkdm
