#include "attach/in_place.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "base/concat.h"
#include "files/confined_opener.h"
#include "support/failure.h"
#include "support/map_image.h"
#include "support/temp_dir.h"
#include "unit/fake_kernel.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::FakeKernel;
using test::FakeMachine;
using test::TempDir;

struct Place : TempDir {
    explicit Place(const std::string& extra = "", const std::string& extent = "RW 8 FLAT \"data\" 0") {
        write_hole("data", 4096);
        image_path = write("web.vmdk", concat("version=1\nCID=11111111\n", extra, extent, "\n"));
    }
    // Checks the image; notes are kept.
    Failure check() {
        return failure_of([&] {
            ConfinedOpener opener({});
            std::vector<std::string> map_notes;
            const Image image = read_image(image_path, opener);
            PlanOptions options;
            options.direct_io = [](const File&) { return true; };
            options.name = "web";
            options.id = "fd00.1";
            options.in_place = true;
            FakeKernel kernel(machine);
            check_in_place(image, make_plan(map_image(image, opener, {}, map_notes), options), kernel, notes);
        });
    }

    std::string image_path;
    FakeMachine machine;
    std::vector<std::string> notes;
};

const Failure none{ErrorKind::system, "(no error)"};

TEST_CASE("an image that nobody else uses may be written") {
    Place place;
    CHECK(place.check() == none);
    CHECK(place.notes.empty());
}

TEST_CASE("a RDONLY extent must not be written") {
    Place place("", "RW 4 FLAT \"data\" 0\nRDONLY 4 FLAT \"data\" 4");
    CHECK(place.check() == Failure{ErrorKind::refused, "--in-place: the extent on line 4 is RDONLY"});
}

TEST_CASE("a lock of VMware's on the image or one of its files is respected") {
    Place place;
    for (const std::string file : {"web.vmdk.lck", "data.lck"}) {
        std::filesystem::create_directory(place.path(file));
        CHECK(place.check() ==
              Failure{ErrorKind::busy, concat("--in-place: '", place.path(file),
                                              "' says that a virtual machine uses the disk (if that "
                                              "is not so, remove it)")});
        std::filesystem::remove(place.path(file));
    }
    CHECK(place.check() == none);
}

TEST_CASE("a file that somebody writes is refused, with the writer's name") {
    Place place;
    place.machine.writers[place.path("data")] = {{Holder::Kind::process, "process 7 (qemu)"}};
    CHECK(place.check() == Failure{ErrorKind::busy, concat("--in-place: '", place.path("data"),
                                                           "' is open for writing by process 7 (qemu)")});
}

TEST_CASE("a parent and children are noted") {
    Place place("parentCID=22222222\nparentFileNameHint=\"base.vmdk\"\n");
    place.write("child.vmdk", "version=1\nCID=33333333\nparentCID=11111111\nRW 8 SPARSE \"x\"\n");
    place.write("stranger.vmdk", "version=1\nCID=44444444\nparentCID=55555555\nRW 8 SPARSE \"x\"\n");
    place.write("orphan.vmdk", "version=1\nCID=11111111\nRW 8 ZERO\n");
    place.write("broken.vmdk", "version=1\nparentCID=11111111\nRW 8\n");
    place.write_hole("huge.vmdk", std::uintmax_t{1} << 40);
    CHECK(place.check() == none);
    CHECK(place.notes ==
          std::vector<std::string>{
              "the image is a snapshot of another: what is written stays in this layer",
              "'child.vmdk' is a child of this image, and is damaged when this image is written"});
}

}  // namespace
}  // namespace vmdkdm
