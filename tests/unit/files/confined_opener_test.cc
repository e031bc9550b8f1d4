#include "files/confined_opener.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "base/concat.h"
#include "base/error.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::Failure;
using test::failure_of;
using test::TempDir;

// A directory `vm` with an image and what it may name, and `out`, which lies outside.
struct Place : TempDir {
    Place() {
        write("vm/disk.vmdk", "version=1\n");
        write("vm/data", "data");
        write("vm/sub/data", "sub data");
        write("out/data", "secret");
    }

    // What the image `vm/disk.vmdk` gets for `name`: the path of the file that is opened.
    std::string open(const std::string& name, const OpenRules& rules = {},
                     const std::string& image = "vm/disk.vmdk") const {
        ConfinedOpener opener(rules);
        const FilePtr file = opener.open_image(path(image));
        return opener.open_beside(*file, name)->path();
    }
    Failure refusal(const std::string& name, const OpenRules& rules = {},
                    const std::string& image = "vm/disk.vmdk") const {
        return failure_of([&] { open(name, rules, image); });
    }
};

OpenRules allowing(const std::string& directory) { return {{directory}, false}; }
OpenRules allowing_devices() { return {{}, true}; }

Failure outside(const std::string& name, const std::string& option = "--allow-path") {
    return {ErrorKind::refused, concat("'", name, "' is outside the image's directory (see ", option, ")")};
}
Failure behind_symlink(const std::string& name) {
    return {ErrorKind::refused,
            concat("'", name, "' is a symbolic link or lies behind one (see --allow-path)")};
}

TEST_CASE("where a file has something stored is told, and its holes are not") {
    const Place place;
    const std::string path = place.path("vm/holes");
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, 4 << 20) == 0);
    REQUIRE(::pwrite(fd, "x", 1, 2 << 20) == 1);
    const bool knows_holes = ::lseek(fd, 0, SEEK_DATA) == 2 << 20;
    ::close(fd);
    const FilePtr file = open_named_file(path, false);
    const File::Stretch stored = file->stored_from(Bytes(0));
    CHECK(stored.start == Bytes(knows_holes ? 2 << 20 : 0));
    CHECK(stored.end > Bytes(2 << 20));
    if (knows_holes) CHECK(stored.end < Bytes(3 << 20));
    for (const std::uint64_t behind : {3U << 20, 4U << 20, 5U << 20}) {
        const File::Stretch none = file->stored_from(Bytes(behind));
        if (knows_holes) CHECK(none.start == none.end);
        CHECK(none.end == Bytes(4 << 20));
    }
}

TEST_CASE("a pipe is called one, though its path leads nowhere") {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    ConfinedOpener opener({});
    CHECK(failure_of([&] { opener.open_image(concat("/dev/fd/", ends[0])); }) ==
          Failure{ErrorKind::refused,
                  "it is a pipe, and an image is read in any order: save it as a file first"});
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_CASE("an image is opened by any path and read as it is") {
    const Place place;
    ConfinedOpener opener({});
    const FilePtr file = opener.open_image(place.path("vm/../vm/disk.vmdk"));
    CHECK(file->path() == place.path("vm/disk.vmdk"));
    CHECK(file->kind() == FileKind::regular);
    CHECK(file->size() == Bytes(10));
    struct stat status = {};
    REQUIRE(::stat(place.path("vm/disk.vmdk").c_str(), &status) == 0);
    CHECK(file->identity() == FileIdentity{status.st_dev, status.st_ino});
    std::string text(7, '?');
    file->read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
    CHECK(text == "version");
    CHECK((::fcntl(file->fd(), F_GETFL) & O_ACCMODE) == O_RDONLY);
    CHECK((::fcntl(file->fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(failure_of([&] { file->read_at(Bytes(8), std::as_writable_bytes(std::span(text))); }) ==
          Failure{ErrorKind::format, concat("'", file->path(), "' ends at byte 10, 5 more bytes expected")});
}

TEST_CASE("an image that is missing or is no file is refused") {
    const Place place;
    ConfinedOpener opener({});
    CHECK(failure_of([&] { opener.open_image(place.path("vm/gone.vmdk")); }) ==
          Failure{ErrorKind::not_found, "No such file or directory"});
    CHECK(failure_of([&] { opener.open_image(place.path("vm/data/x")); }) ==
          Failure{ErrorKind::not_found, "Not a directory"});
    CHECK(failure_of([&] { opener.open_image(place.path("vm")); }) ==
          Failure{ErrorKind::refused,
                  concat("'", place.path("vm"), "' is neither a regular file nor a block device")});
}

TEST_CASE("names below the image's directory are opened") {
    const Place place;
    CHECK(place.open("data") == place.path("vm/data"));
    CHECK(place.open("./data") == place.path("vm/data"));
    CHECK(place.open("sub/data") == place.path("vm/sub/data"));
    CHECK(place.open("sub/../data") == place.path("vm/data"));
    CHECK(place.open("../vm/data") == place.path("vm/data"));
    CHECK(place.open(place.path("vm/data")) == place.path("vm/data"));
}

TEST_CASE("a missing extent is not found, by its whole path") {
    const Place place;
    CHECK(place.refusal("gone") ==
          Failure{ErrorKind::not_found, concat("'", place.path("vm/gone"), "': No such file or directory")});
    CHECK(place.refusal("data/x").kind == ErrorKind::not_found);
}

TEST_CASE("a name with '..' that leaves the directory is refused") {
    const Place place;
    for (const std::string name : {"../out/data", "sub/../../out/data", "../../etc/passwd", "..", "../gone"})
        CHECK(place.refusal(name) == outside(name));
    // A directory whose name begins alike is another directory.
    place.write("vm2/data", "x");
    CHECK(place.refusal("../vm2/data") == outside("../vm2/data"));
}

TEST_CASE("an absolute name elsewhere is refused whether it exists or not") {
    const Place place;
    for (const std::string& name : {place.path("out/data"), place.path("gone"), std::string("/etc/passwd")})
        CHECK(place.refusal(name) == outside(name));
}

TEST_CASE("symlinks are refused wherever they stand and wherever they lead") {
    const Place place;
    fs::create_symlink("../out/data", place.path("vm/link"));
    fs::create_symlink("data", place.path("vm/inner-link"));
    fs::create_directory_symlink("../out", place.path("vm/link-dir"));
    fs::create_directory_symlink("sub", place.path("vm/inner-link-dir"));
    for (const std::string name : {"link", "inner-link", "link-dir/data", "inner-link-dir/data"})
        CHECK(place.refusal(name) == behind_symlink(name));
}

TEST_CASE("a further directory may be allowed") {
    const Place place;
    CHECK(place.open("../out/data", allowing(place.path("out"))) == place.path("out/data"));
    CHECK(place.open(place.path("out/data"), allowing(place.path("out"))) == place.path("out/data"));
    CHECK(place.open("../out/data", allowing(place.path("out/"))) == place.path("out/data"));
    CHECK(place.open("../out/data", allowing(place.path("vm/../out"))) == place.path("out/data"));
    CHECK(place.open("../out/data", allowing(place.path())) == place.path("out/data"));
    CHECK(place.open("../out/data", allowing("/")) == place.path("out/data"));
    CHECK(place.refusal("../out/data", allowing(place.path("vm/sub"))) == outside("../out/data"));
    CHECK(place.refusal("../out/gone", allowing(place.path("out"))) ==
          Failure{ErrorKind::not_found, concat("'", place.path("out/gone"), "': No such file or directory")});
}

TEST_CASE("symlinks inside an allowed directory do not lead out of it") {
    const Place place;
    place.write("more/data", "x");
    fs::create_symlink("../more/data", place.path("out/link"));
    CHECK(place.refusal("../out/link", allowing(place.path("out"))) == behind_symlink("../out/link"));
}

TEST_CASE("a symlink of the image's directory may lead into a directory that is allowed by name") {
    const Place place;
    fs::create_symlink("../out/data", place.path("vm/link"));
    fs::create_directory_symlink("../out", place.path("vm/link-dir"));
    CHECK(place.open("link", allowing(place.path("out"))) == place.path("out/data"));
    CHECK(place.open("link-dir/data", allowing(place.path("out"))) == place.path("out/data"));
    CHECK(place.refusal("link", allowing(place.path("vm/sub"))) == behind_symlink("link"));
}

TEST_CASE("a directory may be allowed through a symlink, and names may use either spelling") {
    const Place place;
    fs::create_directory_symlink("out", place.path("alias"));
    const OpenRules rules = allowing(place.path("alias"));
    CHECK(place.open("../alias/data", rules) == place.path("out/data"));
    CHECK(place.open("../out/data", rules) == place.path("out/data"));
    CHECK(place.open(place.path("alias/data"), rules) == place.path("out/data"));
}

TEST_CASE("an allowed path that is no directory is a mistake on the command line") {
    const Place place;
    for (const std::string& path : {place.path("gone"), place.path("vm/data"), std::string()})
        CHECK(failure_of([&] { ConfinedOpener opener(allowing(path)); }) ==
              Failure{ErrorKind::usage, concat("--allow-path '", path, "' is not a directory")});
}

TEST_CASE(
    "an image behind a symlink has its extents where it really lies; its own spelling of them is taken too") {
    const Place place;
    fs::create_directory(place.path("links"));
    fs::create_symlink("../vm/disk.vmdk", place.path("links/disk.vmdk"));
    fs::create_directory_symlink("vm", place.path("alias"));
    CHECK(place.open("data", {}, "links/disk.vmdk") == place.path("vm/data"));
    CHECK(place.open(place.path("links/data"), {}, "links/disk.vmdk") == place.path("vm/data"));
    CHECK(place.open(place.path("alias/data"), {}, "alias/disk.vmdk") == place.path("vm/data"));
}

TEST_CASE("what is neither file nor device is refused without being opened") {
    const Place place;
    // Opening a FIFO would block for ever.
    REQUIRE(::mkfifo(place.path("vm/fifo").c_str(), 0600) == 0);
    for (const std::string name : {"fifo", "sub"})
        for (const OpenRules& rules : {OpenRules{}, allowing_devices()})
            CHECK(place.refusal(name, rules) ==
                  Failure{ErrorKind::refused, concat("'", place.path("vm/" + name),
                                                     "' is neither a regular file nor a block device")});
}

TEST_CASE("a device node elsewhere is refused with the option that allows it") {
    const Place place;
    CHECK(place.refusal("/dev/sda") == outside("/dev/sda", "--allow-devices"));
    CHECK(place.refusal("/dev/../dev/sda") == outside("/dev/../dev/sda", "--allow-devices"));
}

TEST_CASE(
    "with devices allowed, what is in /dev and is no block device stays refused, and nothing is hinted at") {
    const Place place;
    CHECK(place.refusal("/dev/null", allowing_devices()) ==
          Failure{ErrorKind::refused, "'/dev/null' is not a block device"});
    CHECK(place.refusal("/dev/no-such-device", allowing_devices()) ==
          Failure{ErrorKind::not_found, "'/dev/no-such-device': No such file or directory"});
}

TEST_CASE("an image cannot be a block device, whatever is allowed") {
    const Place place;
    ConfinedOpener opener(allowing_devices());
    CHECK(failure_of([&] { opener.open_image("/dev/null"); }) ==
          Failure{ErrorKind::refused, "'/dev/null' is neither a regular file nor a block device"});
}

TEST_CASE("a block device node is opened only when devices are allowed") {
    const Place place;
    // Major 240 is for local use: nothing answers there, so that a try to open the node shows as ENXIO.
    if (::mknod(place.path("vm/node").c_str(), S_IFBLK | 0600, makedev(240, 77)) != 0) {
        WARN("SKIPPED: making a device node needs root");
        return;
    }
    CHECK(place.refusal("node") ==
          Failure{ErrorKind::refused,
                  concat("'", place.path("vm/node"), "' is a block device (see --allow-devices)")});
    CHECK(place.refusal("node", allowing_devices()) ==
          Failure{ErrorKind::system, concat("'", place.path("vm/node"), "': No such device or address")});
    ConfinedOpener opener(allowing_devices());
    CHECK(
        failure_of([&] { opener.open_image(place.path("vm/node")); }) ==
        Failure{ErrorKind::refused, concat("'", place.path("vm/node"), "' is a block device, not an image")});
}

}  // namespace
}  // namespace vmdkdm
