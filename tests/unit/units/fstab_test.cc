#include "units/fstab.h"

#include <catch2/catch.hpp>

namespace vmdkdm {
namespace {

TEST_CASE("lines of fstab are read with their escapes, and those that are none are left out") {
    const std::vector<FstabLine> lines = parse_fstab(
        "# comment\n"
        "\n"
        "LABEL=My\\040Data\t/srv/my\\040data/ ext4 defaults,nofail 0 2\n"
        "  /dev/sda2 none swap sw\n"
        "broken line\n"
        "srv:/x /nfs nfs4");
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].source == "LABEL=My Data");
    CHECK(lines[0].directory == "/srv/my data");
    CHECK(lines[0].type == "ext4");
    CHECK(lines[0].has("nofail"));
    CHECK_FALSE(lines[0].has("fail"));
    CHECK(lines[1].directory == "none");
    CHECK(lines[2].options.empty());
}

TEST_CASE("a file system that waits for the network is known by its type or by _netdev") {
    const std::vector<FstabLine> lines = parse_fstab(
        "s:/a /a nfs defaults\n"
        "u@s: /b fuse.sshfs defaults\n"
        "/dev/sdb1 /c ext4 noatime,_netdev\n"
        "/dev/sdc1 /d ext4 defaults\n");
    REQUIRE(lines.size() == 4);
    CHECK(lines[0].is_remote());
    CHECK(lines[1].is_remote());
    CHECK(lines[2].is_remote());
    CHECK_FALSE(lines[3].is_remote());
}

TEST_CASE("a path lies on the mount that is nearest to it") {
    const std::vector<FstabLine> lines = parse_fstab("a / ext4\nb /srv ext4\nc /srv/vm ext4\nd none swap\n");
    CHECK(file_system_of("/srv/vm/x.vmdk", lines)->source == "c");
    CHECK(file_system_of("/srv/vmx/x.vmdk", lines)->source == "b");
    CHECK(file_system_of("/var/x", lines)->source == "a");
    CHECK(file_system_of("/var/x", parse_fstab("b /srv ext4\n")) == nullptr);
}

TEST_CASE("crypttab gives names and sources") {
    const std::vector<CrypttabLine> lines = parse_crypttab("#x\nsecrets /dev/mapper/web2 none luks\nonly\n");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].name == "secrets");
    CHECK(lines[0].source == "/dev/mapper/web2");
}

}  // namespace
}  // namespace vmdkdm
