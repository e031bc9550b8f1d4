#include "mount/options.h"

#include <catch2/catch.hpp>

#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

std::string options_for(std::string_view type, const MountWishes& wishes = {}, bool no_replay = false) {
    return mount_options(rules_for(type), wishes, no_replay);
}

TEST_CASE("a mount is read-only and harmless unless it is wished otherwise") {
    CHECK(options_for("ext4") == "ro,nosuid,nodev,noexec,noatime");
    CHECK(options_for("unheard-of") == "ro,nosuid,nodev,noexec,noatime");
    MountWishes wishes;
    wishes.writable = true;
    wishes.options = "exec,errors=panic";
    CHECK(options_for("ext4", wishes) == "rw,nosuid,nodev,noexec,noatime,exec,errors=panic");
}

TEST_CASE("each file system has its own word for a journal that is left alone") {
    CHECK(options_for("ext2", {}, true) == "ro,nosuid,nodev,noexec,noatime");
    CHECK(options_for("ext3", {}, true) == "ro,nosuid,nodev,noexec,noatime,noload");
    CHECK(options_for("ext4", {}, true) == "ro,nosuid,nodev,noexec,noatime,noload");
    CHECK(options_for("xfs", {}, true) == "ro,nosuid,nodev,noexec,noatime,nouuid,norecovery");
    CHECK(options_for("btrfs", {}, true) == "ro,nosuid,nodev,noexec,noatime,rescue=nologreplay");
    CHECK(options_for("f2fs", {}, true) == "ro,nosuid,nodev,noexec,noatime,norecovery");
    CHECK(options_for("ntfs-3g", {}, true) == "ro,nosuid,nodev,noexec,noatime,norecover");
}

TEST_CASE("an xfs may stand beside its original, written to or not") {
    MountWishes wishes;
    wishes.writable = true;
    CHECK(options_for("xfs") == "ro,nosuid,nodev,noexec,noatime,nouuid");
    CHECK(options_for("xfs", wishes) == "rw,nosuid,nodev,noexec,noatime,nouuid");
}

TEST_CASE("owner and mode become what the file system calls them") {
    MountWishes wishes;
    wishes.owner = Owner{1000, 100};
    wishes.mode = 0640;
    const std::string safe = "ro,nosuid,nodev,noexec,noatime,";
    CHECK(options_for("vfat", wishes) == safe + "uid=1000,gid=100,fmask=0137,dmask=0027");
    CHECK(options_for("ntfs3", wishes) == safe + "uid=1000,gid=100,fmask=0137,dmask=0027");
    CHECK(options_for("hfs", wishes) == safe + "uid=1000,gid=100,file_umask=0137,dir_umask=0027");
    CHECK(options_for("udf", wishes) == safe + "uid=1000,gid=100,mode=0640,dmode=0750");
    CHECK(options_for("iso9660", wishes) == safe + "uid=1000,gid=100,overriderockperm,mode=0640,dmode=0750");
    wishes.owner->group.reset();
    wishes.mode.reset();
    CHECK(options_for("hfsplus", wishes) == safe + "uid=1000");
}

TEST_CASE("a file system with owners or modes of its own refuses others") {
    MountWishes wishes;
    wishes.owner = Owner{1000, std::nullopt};
    CHECK(failure_of([&] { options_for("ext4", wishes); }) ==
          Failure{ErrorKind::refused, "--owner: the files of ext4 have owners of their own"});
    wishes.owner.reset();
    wishes.mode = 0600;
    CHECK(failure_of([&] { options_for("xfs", wishes); }) ==
          Failure{ErrorKind::refused, "--mode: the files of xfs have permissions of their own"});
    CHECK(failure_of([&] { options_for("hfsplus", wishes); }).kind == ErrorKind::refused);
}

TEST_CASE("options that would do something else than mounting are refused, and so is a hidden rw") {
    const auto refusal_of = [](const std::string& options) {
        MountWishes wishes;
        wishes.options = options;
        return failure_of([&] { check_user_options(wishes); });
    };
    CHECK(refusal_of("noload,rw") == Failure{ErrorKind::usage, "-o rw: to write, use --rw"});
    CHECK(refusal_of("remount") == Failure{ErrorKind::usage, "-o remount makes no sense here"});
    CHECK(refusal_of("loop=/dev/loop7") ==
          Failure{ErrorKind::usage, "-o loop=/dev/loop7 makes no sense here"});
    CHECK(refusal_of("context=\"a,rw\",exec").text == "(no error)");
    CHECK(refusal_of("").text == "(no error)");
}

}  // namespace
}  // namespace vmdkdm
