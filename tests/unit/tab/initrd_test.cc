#include "tab/initrd.h"

#include <catch2/catch.hpp>

#include "tab/device.h"

using namespace vmdkdm;

namespace {

std::string printed(std::string_view command_line, std::string_view table = "") {
    return print_initrd_tab(initrd_tab(command_line, parse_tab(table, "/etc/vmdktab")));
}

}  // namespace

TEST_CASE("an initramfs attaches what the command line asks for, and says where each device appears") {
    CHECK(printed("quiet rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose root=/dev/mapper/root1\n") ==
          "# /dev/disk/by-label/host needed rd.vmdk=LABEL=host:/vm/root.vmdk:root:in-place,expose "
          "rw,nosuid,nodev,noexec\n"
          "root LABEL=host:/vm/root.vmdk in-place,expose\n");
}

TEST_CASE("a blank in a label is written as udev names the link") {
    CHECK(printed("rd.vmdk=LABEL=my\\040data:/a\\072b.vmdk:a") ==
          "# /dev/disk/by-label/my\\x20data needed rd.vmdk=LABEL=my\\040data:/a\\072b.vmdk:a "
          "ro,nosuid,nodev,noexec\n"
          "a LABEL=my\\040data:/a:b.vmdk\n");
}

TEST_CASE("a blank shifts no field of an entry") {
    CHECK(printed("rd.vmdk=/dev/disk/a\\040b:/a.vmdk:a").empty());
    CHECK(
        print_initrd_tab(initrd_tab("", parse_tab("a UUID=1:/a.vmdk x-initrd.attach\n", "/my tab"))) ==
        "# /dev/disk/by-uuid/1 needed /my_tab:1 ro,nosuid,nodev,noexec\na UUID=1:/a.vmdk x-initrd.attach\n");
}

TEST_CASE("of the table an initramfs takes the lines with x-initrd.attach") {
    const std::string table =
        "web /vm/web.vmdk\n"
        "root UUID=12:/root.vmdk x-initrd.attach,nofail\n";
    CHECK(printed("", table) ==
          "# /dev/disk/by-uuid/12 nofail /etc/vmdktab:2 ro,nosuid,nodev,noexec\n"
          "root UUID=12:/root.vmdk x-initrd.attach,nofail\n");
}

TEST_CASE("the command line hides the table's entry of the same name, and rd.vmdk=0 hides all") {
    const std::string table = "root UUID=12:/root.vmdk x-initrd.attach\n";
    CHECK(printed("rd.vmdk=UUID=34:/new.vmdk:root", table) ==
          "# /dev/disk/by-uuid/34 needed rd.vmdk=UUID=34:/new.vmdk:root ro,nosuid,nodev,noexec\n"
          "root UUID=34:/new.vmdk\n");
    CHECK(printed("rd.vmdk=UUID=34:/new.vmdk:other rd.vmdk=0", table).empty());
}

TEST_CASE("entries of one device share its mount: writable if one of them writes, host-options last") {
    const std::string both =
        printed("rd.vmdk=UUID=1:/a.vmdk:a rd.vmdk=UUID=1:/b.vmdk:b:overlay=/b.cow,host-options=data\\040x");
    CHECK(both ==
          "# /dev/disk/by-uuid/1 needed rd.vmdk=UUID=1:/a.vmdk:a rw,nosuid,nodev,noexec,data x\n"
          "a UUID=1:/a.vmdk\n"
          "# /dev/disk/by-uuid/1 needed rd.vmdk=UUID=1:/b.vmdk:b:overlay=/b.cow,host-options=data\\040x "
          "rw,nosuid,nodev,noexec,data x\n"
          "b UUID=1:/b.vmdk overlay=/b.cow,host-options=data\\040x\n");
}

TEST_CASE("what is wrong with one rd.vmdk= leaves the others") {
    const Tab tab = initrd_tab("rd.vmdk=nonsense rd.vmdk=UUID=1:/a.vmdk:a rd.vmdk=UUID=1:/b.vmdk:a", {});
    REQUIRE(tab.entries.size() == 1);
    REQUIRE(tab.faults.size() == 2);
    CHECK(std::string(tab.faults[0].error.what()).starts_with("rd.vmdk:1:1: expected DEV:/PATH:NAME"));
    CHECK(std::string(tab.faults[1].error.what())
              .starts_with("rd.vmdk:1:16: another rd.vmdk= has the name 'a' too\n"));
}

TEST_CASE("a broken line of the table is the initramfs's business when it says x-initrd.attach") {
    const Tab tab =
        initrd_tab("", parse_tab("web relative.vmdk\nroot /root.vmdk x-initrd.attach\n", "/etc/vmdktab"));
    REQUIRE(tab.faults.size() == 1);
    CHECK(tab.faults[0].line == 2);
}
