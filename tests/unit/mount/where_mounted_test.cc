#include "mount/where_mounted.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("of fstab's mount points the deepest counts; swap, proc and network file systems are none") {
    const test::TempDir directory;
    const std::string file =
        directory.write("fstab",
                        "# a comment\n"
                        "UUID=1 / ext4 defaults 0 1\n"
                        "/dev/mapper/web1 /srv/my\\040vm ext4 x-systemd.requires=a.service\n"
                        "LABEL=x /srv ext4 ro\n"
                        "server:/x /net nfs defaults\n"
                        "proc /proc proc defaults\n"
                        "/swapfile none swap sw\n");
    ::setenv("LIBMOUNT_FSTAB", file.c_str(), 1);
    const std::vector<FstabMount> mounts = fstab_mounts();
    ::setenv("LIBMOUNT_FSTAB", directory.path("none").c_str(), 1);
    CHECK(fstab_mounts().empty());
    ::unsetenv("LIBMOUNT_FSTAB");
    REQUIRE(mounts.size() == 3);
    const FstabMount* const deepest = fstab_mount_of(mounts, "/srv/my vm/web.vmdk");
    REQUIRE(deepest != nullptr);
    CHECK(deepest->source == "/dev/mapper/web1");
    CHECK(deepest->options == "x-systemd.requires=a.service");
    CHECK(fstab_mount_of(mounts, "/srv/other")->source == "LABEL=x");
    CHECK(fstab_mount_of(mounts, "/srvx")->source == "UUID=1");
    CHECK(fstab_mount_of({}, "/srv") == nullptr);
}

TEST_CASE("a file lies on the mount that its symlinks lead to") {
    const MountPlace proc = mount_of("/proc/self/status");
    CHECK(proc.directory == "/proc");
    CHECK(proc.type == "proc");
    CHECK(proc.root == "/");
    const test::TempDir directory;
    std::filesystem::create_symlink("/proc/version", directory.path("link"));
    const std::string here = mount_of(directory.path()).directory;
    CHECK(is_on_mount(directory.path(), here));
    CHECK(is_on_mount(directory.path("new"), here));
    CHECK_FALSE(is_on_mount(directory.path("link"), here));
    CHECK(is_on_mount("/proc/version", "/proc"));
    CHECK_FALSE(is_on_mount("/proc/version", "/"));
}

TEST_CASE("what has no device has no path on one") {
    CHECK(failure_of([] { device_path_of("/proc/version"); }) ==
          Failure{ErrorKind::refused,
                  "'/proc/version' lies on '/proc', a file system (proc) without a block device of its own"});
    CHECK(failure_of([] { device_path_of("/no/such/file"); }) ==
          Failure{ErrorKind::not_found, "'/no/such/file': No such file or directory"});
    CHECK(failure_of([] { find_device("UUID=no-such-uuid"); }) ==
          Failure{ErrorKind::not_found, "there is no device UUID=no-such-uuid"});
    CHECK(failure_of([] { find_device("/dev/null"); }) ==
          Failure{ErrorKind::refused, "'/dev/null' is no block device"});
    CHECK(where_mounted("/dev/no-such-device", false) == std::nullopt);
}

}  // namespace
}  // namespace vmdkdm
