#include "attach/link_name.h"

#include <catch2/catch.hpp>

#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

TEST_CASE("a partition's link has the name of the disk that it lies on and its number") {
    const test::TempDir sysfs;
    sysfs.write("dm-1/dm/uuid", "part12-VMDK-800.2a-disk\n");
    sysfs.write("dm-1/dm/name", "web7_x_12\n");
    sysfs.write("dm-1/slaves/dm-0/dm/uuid", "VMDK-800.2a-disk\n");
    sysfs.write("dm-1/slaves/dm-0/dm/name", "web7\n");
    CHECK(partition_link_name(sysfs.path("dm-1")) == "web7-part12");
}

TEST_CASE("what is not a partition of ours, or lies on another disk, gets no link") {
    const test::TempDir sysfs;
    sysfs.write("disk/dm/uuid", "VMDK-800.2a-disk\n");
    sysfs.write("kpartx/dm/uuid", "part1-mpath-1\n");
    sysfs.write("stray/dm/uuid", "part1-VMDK-800.2a-disk\n");
    sysfs.write("stray/slaves/dm-0/dm/uuid", "VMDK-800.2b-disk\n");
    sysfs.write("stray/slaves/dm-0/dm/name", "other\n");
    for (const char* device : {"disk", "kpartx", "stray", "nothing"})
        CHECK_FALSE(partition_link_name(sysfs.path(device)));
}

}  // namespace
}  // namespace vmdkdm
