#include <catch2/catch.hpp>
#include <filesystem>

#include "mount/mount_point.h"
#include "mount/source.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("an existing path is the image; else the longest part before a colon that exists") {
    const test::TempDir dir;
    const std::string image = dir.write("web.vmdk", "");
    const std::string odd = dir.write("a:b:2", "");
    const auto parsed = [](const std::string& text) {
        const MountSource source = parse_mount_source(text);
        return source.image + " | " + source.volume;
    };
    CHECK(parsed(image) == image + " | ");
    CHECK(parsed(image + ":2") == image + " | 2");
    CHECK(parsed(image + ":vg0/root") == image + " | vg0/root");
    CHECK(parsed(image + ":LABEL=a:b") == image + " | LABEL=a:b");
    CHECK(parsed(odd) == odd + " | ");
    CHECK(parsed(odd + ":1") == odd + " | 1");
}

TEST_CASE("what names no image or no volume is refused") {
    const test::TempDir dir;
    const std::string image = dir.write("web.vmdk", "");
    CHECK(failure_of([&] { parse_mount_source(image + ":"); }).kind == ErrorKind::usage);
    CHECK(failure_of([] { parse_mount_source("none.vmdk:2"); }) ==
          Failure{ErrorKind::not_found, "there is no image 'none.vmdk'"});
    CHECK(failure_of([] { parse_mount_source(":2"); }).kind == ErrorKind::not_found);
}

TEST_CASE("our own symlinks lead to a mount point, those of a mounted file system do not") {
    const test::TempDir dir;
    std::filesystem::create_directories(dir.path("real/inner"));
    std::filesystem::create_symlink(dir.path("real"), dir.path("link"));
    std::filesystem::create_symlink("/", dir.path("real/out"));
    const std::string real = dir.path("real");
    CHECK(resolve_mount_point(dir.path("link/inner/"), {}) == real + "/inner");
    CHECK(resolve_mount_point(dir.path("link/./inner/.."), {}) == real);
    CHECK(resolve_mount_point(dir.path("link/inner"), {real}) == real + "/inner");
    CHECK(resolve_mount_point(dir.path("link/out"), {}) == "/");
    CHECK(failure_of([&] { resolve_mount_point(dir.path("link/out"), {real}); }) ==
          Failure{ErrorKind::refused, "'" + dir.path("link/out") + "' leads over '" + real +
                                          "/out', a symlink of the mounted file system"});
    CHECK(failure_of([&] { resolve_mount_point(dir.path("none"), {}); }) ==
          Failure{ErrorKind::not_found, "there is no directory '" + dir.path("none") + "' to mount on"});
    dir.write("file", "");
    CHECK(failure_of([&] { resolve_mount_point(dir.path("file"), {}); }) ==
          Failure{ErrorKind::usage, "'" + dir.path("file") + "' is no directory"});
}

TEST_CASE("a path lies in a directory by whole names") {
    CHECK(lies_in("/mnt", "/mnt"));
    CHECK(lies_in("/mnt/a", "/mnt"));
    CHECK(lies_in("/mnt", "/"));
    CHECK_FALSE(lies_in("/mnt2", "/mnt"));
}

}  // namespace
}  // namespace vmdkdm
