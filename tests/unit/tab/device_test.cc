#include "tab/device.h"

#include <catch2/catch.hpp>

using namespace vmdkdm;

TEST_CASE("a device is where udev links it") {
    CHECK(device_path("LABEL=HOST") == "/dev/disk/by-label/HOST");
    CHECK(device_path("LABEL=\"My Host\"") == "/dev/disk/by-label/My\\x20Host");
    CHECK(device_path("LABEL=a/b\\c") == "/dev/disk/by-label/a\\x2fb\\x5cc");
    CHECK(device_path("LABEL=Wäsche") == "/dev/disk/by-label/Wäsche");
    CHECK(device_path("UUID=12-34") == "/dev/disk/by-uuid/12-34");
    CHECK(device_path("PARTLABEL=p") == "/dev/disk/by-partlabel/p");
    CHECK(device_path("PARTUUID=p") == "/dev/disk/by-partuuid/p");
    CHECK(device_path("/dev/sda1") == "/dev/sda1");
    CHECK(device_path("server:/x") == "server:/x");
}
