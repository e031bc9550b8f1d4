#include "overlay/overlay_file.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "base/concat.h"
#include "support/blob.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::Failure;
using test::failure_of;
using test::TempDir;

OverlayHeader example() {
    OverlayHeader header;
    header.capacity = Sectors(2048);
    header.chunk = Sectors(32);
    header.limit = Bytes(1 << 20);
    header.image = "/vm/web.vmdk";
    header.created = "2026-11-22T19:30:00Z";
    header.links = {{ContentId{0xfffffffe}, ContentId{0x12}, "60 00 C2"}, {ContentId{0x12}, no_parent, ""}};
    header.files = {
        {"web.vmdk", Bytes(300), 1}, {"web-flat.vmdk", Bytes(1 << 20), -5}, {"/dev/sdb", Bytes(7), 0}};
    return header;
}

const std::string example_text =
    "vmdk-dm overlay 1\nlimit=00000000000001048576\ncapacity=2048\nchunk=32\ncreated=2026-11-22T19:30:00Z\n"
    "image=/vm/web.vmdk\nlink=fffffffe 00000012 60 00 C2\nlink=00000012 ffffffff \nfile=300 1 web.vmdk\n"
    "file=1048576 -5 web-flat.vmdk\nfile=7 0 /dev/sdb\nend\n";

TEST_CASE("the header of an overlay is lines of text, and reads back") {
    CHECK(print_overlay_header(example()) == example_text);
    CHECK(parse_overlay_header(example_text) == example());
    CHECK(parse_overlay_header(example_text + std::string(100, '\0')) == example());
}

TEST_CASE("control characters and backslashes in names are escaped") {
    OverlayHeader header = example();
    header.files[0].name = "a\nfile=1 2 b\\x41\x7f\xff";
    const std::string text = print_overlay_header(header);
    CHECK(text.find("\nfile=300 1 a\\x0afile=1 2 b\\\\x41\\x7f\xff\n") != std::string::npos);
    CHECK(parse_overlay_header(text) == header);
}

// The example with the first `what` replaced.
Failure parse_with(const std::string& what, const std::string& by) {
    std::string text = example_text;
    text.replace(text.find(what), what.size(), by);
    return failure_of([&] { parse_overlay_header(text); });
}

Failure damaged(const std::string& why) {
    return {ErrorKind::format, "the header of the overlay is damaged: " + why};
}

TEST_CASE("a header that was not written so is refused, and the line is named") {
    CHECK(parse_with("overlay 1", "overlay 2") ==
          damaged("line 1: it does not begin with 'vmdk-dm overlay 1'"));
    CHECK(parse_with("capacity=2048\n", "") == damaged("line 3: 'chunk=32', expected 'capacity=...'"));
    CHECK(parse_with("=2048", "=2k") == damaged("line 3: '2k' is not a number"));
    CHECK(parse_with("=2048", "=0") == damaged("line 12: no disk has that capacity"));
    CHECK(parse_with("chunk=32", "chunk=33") == damaged("line 12: no overlay has chunks of 33 sectors"));
    CHECK(parse_with("chunk=32", "chunk=4") == damaged("line 12: no overlay has chunks of 4 sectors"));
    CHECK(parse_with("1048576", "1048577") ==
          damaged("line 12: the limit is 1048577 bytes, expected a number of whole chunks"));
    CHECK(parse_with("end\n", "end") == damaged("line 12: it has no end"));
    CHECK(parse_with("end\n", "unknown=1\nend\n") == damaged("line 12: 'unknown=1', expected 'end'"));
    CHECK(parse_with("end\n", "end\nx") == damaged("line 12: there is something behind its end"));
    CHECK(parse_with("web.vmdk", "we\\b.vmdk") == damaged("line 6: a '\\' that begins no escape"));
    CHECK(parse_with("web.vmdk", "we\tb.vmdk") == damaged("line 6: it holds a control character"));
    CHECK(parse_with("file=7 0 /dev/sdb", "file=7") == damaged("line 11: something is missing at its end"));
    for (const auto& [what, by] :
         {std::pair{"=2048", "=02048"}, {"fffffffe", "FFFFFFFE"}, {"web.vmdk", "\\x41"}})
        CHECK(parse_with(what, by) ==
              Failure{ErrorKind::format,
                      "the header of the overlay is damaged: it is not spelled as it was written"});
}

TEST_CASE("an image of too many files has no header") {
    OverlayHeader header = example();
    header.files.resize(100000, {"web-f001.vmdk", Bytes(1), 1});
    CHECK(failure_of([&] { print_overlay_header(header); }) ==
          Failure{ErrorKind::refused, "the image has 100000 files, too many for the header of an overlay"});
}

std::string refusal(const std::string& why) {
    return "the overlay belongs to another disk, or the image has changed: " + why;
}

Failure check_with(const std::function<void(OverlayHeader&)>& change, bool accept_touched = false) {
    OverlayHeader now = example();
    change(now);
    std::vector<std::string> notes;
    return failure_of([&] { check_belongs(example(), now, accept_touched, notes); });
}

TEST_CASE("an overlay belongs to a disk of the same capacity, CIDs, and files; what differs is said") {
    const auto refused = [](const std::string& why) { return Failure{ErrorKind::refused, refusal(why)}; };
    CHECK(check_with([](OverlayHeader& now) { now.image = "/elsewhere/web.vmdk"; }).text == "(no error)");
    CHECK(check_with([](OverlayHeader& now) { now.capacity = Sectors(2049); }) ==
          refused("the disk has 2049 sectors, then 2048"));
    CHECK(check_with([](OverlayHeader& now) { now.links[0].cid.value = 0xabc; }) ==
          refused("the CID of the image is 00000abc, then fffffffe"));
    CHECK(check_with([](OverlayHeader& now) { now.links[1].parent_cid.value = 1; }) ==
          refused("the parentCID of its parent 1 is 00000001, then ffffffff"));
    CHECK(check_with([](OverlayHeader& now) { now.links[0].uuid = "other"; }) ==
          refused("ddb.uuid of the image is 'other', then '60 00 C2'"));
    CHECK(check_with([](OverlayHeader& now) { now.links.pop_back(); }) ==
          refused("its chain has 1 link, then 2"));
    CHECK(check_with([](OverlayHeader& now) { now.files.pop_back(); }) ==
          refused("the disk is in 2 files, then in 3"));
    for (const bool accept : {false, true})
        CHECK(check_with([](OverlayHeader& now) { now.files[1].size = Bytes(5); }, accept) ==
              refused("'web-flat.vmdk' has 5 bytes, then 1048576"));
    CHECK(check_with([](OverlayHeader& now) {
              now.files[1] = {"renamed.vmdk", Bytes(5), -5};
          }) == refused("'renamed.vmdk' has 5 bytes, then ('web-flat.vmdk') 1048576"));
}

TEST_CASE("a file that was modified since is accepted only when the user says so") {
    OverlayHeader now = example();
    now.files[1].modified_ns = 1'700'000'000'000'000'042;
    const std::string times =
        "'web-flat.vmdk' was modified on 2023-11-14 22:13:20.000000042 UTC, then on 1969-12-31 "
        "23:59:59.999999995 UTC";
    std::vector<std::string> notes;
    CHECK(failure_of([&] { check_belongs(example(), now, false, notes); }) ==
          Failure{ErrorKind::refused,
                  refusal(times +
                          " (if only its time has changed, as by a copy without -p, see --accept-touched)")});
    CHECK(notes.empty());
    check_belongs(example(), now, true, notes);
    CHECK(notes == std::vector<std::string>{times});
}

TEST_CASE("the default limit takes every chunk of the disk, areas of exceptions included") {
    // 32 sectors: 1024 exceptions an area. Header, one area, the data, and an area that the kernel may want
    // next.
    CHECK(whole_disk_limit(Sectors(32), Sectors(32)) == Bytes(16384 * (1 + 1 + 1 + 1)));
    CHECK(whole_disk_limit(Sectors(33), Sectors(32)) == Bytes(16384 * (1 + 1 + 2 + 1)));
    CHECK(whole_disk_limit(Sectors(32 * 1024), Sectors(32)) == Bytes(16384 * (1 + 2 + 1024 + 1)));
}

TEST_CASE("a limit is whole chunks, and never ends just where an area of exceptions must begin") {
    CHECK(usable_limit(Bytes(16384 * 5 + 1), Sectors(32)) == Bytes(16384 * 5));
    CHECK(usable_limit(Bytes(16384 * 1026), Sectors(32)) == Bytes(16384 * 1025));
    CHECK(usable_limit(Bytes(16384 * 1027), Sectors(32)) == Bytes(16384 * 1027));
    CHECK(failure_of([] { usable_limit(Bytes(40000), Sectors(32)); }) ==
          Failure{ErrorKind::usage, "an overlay of 40000 bytes has room for nothing (at least 49152)"});
}

TEST_CASE("an overlay file is made whole, sparse and for its owner only") {
    const TempDir directory;
    const OverlayFile made = OverlayFile::create(directory.path("o"), example());
    struct stat status = {};
    REQUIRE(::stat(directory.path("o").c_str(), &status) == 0);
    CHECK(status.st_size == 2 << 20);
    CHECK((status.st_mode & 07777) == 0600);
    CHECK(status.st_blocks * 512 < 1 << 20);
    CHECK(made.header() == example());
    CHECK(made.cow_state() == CowState::untouched);
}

TEST_CASE("who changes an overlay is alone with it") {
    const TempDir directory;
    const std::string path = directory.path("o");
    const Failure in_use{ErrorKind::busy, concat("the overlay '", path,
                                                 "' is in use: it is attached (see vmdk-dm list), or a "
                                                 "command works on it")};
    {
        const OverlayFile made = OverlayFile::create(path, example());
        CHECK(failure_of([&] { OverlayFile::open(path); }) == in_use);
        CHECK(failure_of([&] { OverlayFile::open_writable(path); }) == in_use);
        CHECK(OverlayFile::open_in_use(path).header() == example());
    }
    const OverlayFile reader = OverlayFile::open(path);
    OverlayFile::open(path);
    CHECK(failure_of([&] { OverlayFile::open_writable(path); }) == in_use);
}

TEST_CASE("what is no overlay is not taken for one") {
    const TempDir directory;
    const std::string path = directory.write("o", "# Disk DescriptorFile\n");
    const std::string real = path;
    CHECK(failure_of([&] { OverlayFile::open(path); }) ==
          Failure{ErrorKind::format, concat("'", real, "': not an overlay of vmdk-dm")});
    CHECK(failure_of([&] { OverlayFile::open(directory.path("none")); }) ==
          Failure{ErrorKind::not_found,
                  concat("overlay '", directory.path("none"), "': No such file or directory")});
    CHECK(failure_of([&] { OverlayFile::open("/dev/null"); }) ==
          Failure{ErrorKind::refused, "overlay: '/dev/null' is not a regular file"});
    directory.write("o", example_text);
    CHECK(failure_of([&] { OverlayFile::open(path); }) ==
          Failure{ErrorKind::format, concat("'", real, "': the overlay is cut short: ", example_text.size(),
                                            " bytes, expected 2097152")});
}

TEST_CASE("an overlay grows and does not shrink") {
    const TempDir directory;
    {
        OverlayFile overlay = OverlayFile::create(directory.path("o"), example());
        overlay.grow(Bytes(4 << 20));
        CHECK(overlay.header().limit == Bytes(4 << 20));
        CHECK(overlay.file()->size() == Bytes(5 << 20));
        CHECK(
            failure_of([&] { overlay.grow(Bytes(1 << 20)); }) ==
            Failure{ErrorKind::refused,
                    concat("the overlay '", directory.path("o"),
                           "' has a limit of 4194304 bytes and cannot get a smaller one (1048576): what was "
                           "written may lie anywhere in it")});
    }
    OverlayHeader expected = example();
    expected.limit = Bytes(4 << 20);
    CHECK(OverlayFile::open(directory.path("o")).header() == expected);
}

TEST_CASE("a file that a growth left longer than its limit is cut to it before the kernel sees it") {
    const TempDir directory;
    OverlayFile::create(directory.path("o"), example());
    const Bytes end = overlay_cow_offset + example().limit;
    std::filesystem::resize_file(directory.path("o"), (end + Bytes(1 << 20)).count());
    CHECK(OverlayFile::open(directory.path("o")).file()->size() == end + Bytes(1 << 20));
    CHECK(OverlayFile::open_writable(directory.path("o")).file()->size() == end);
    CHECK(std::filesystem::file_size(directory.path("o")) == end.count());
}

// The overlay's file with this at the start of its COW area.
std::string with_cow(const TempDir& directory, const test::Blob& cow) {
    OverlayFile::create(directory.path("o"), example());
    std::fstream file(directory.path("o"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1 << 20);
    file << cow.bytes();
    return directory.path("o");
}

TEST_CASE("the kernel's header of the COW area is looked at") {
    test::Blob cow(1);
    cow.put32(0, 0x70416e53).put32(4, 1).put32(8, 1).put32(12, 32);
    SECTION("valid") {
        const TempDir directory;
        CHECK(OverlayFile::open(with_cow(directory, cow)).cow_state() == CowState::valid);
    }
    SECTION("invalid, and made valid") {
        const TempDir directory;
        const std::string path = with_cow(directory, cow.put32(4, 0));
        CHECK(OverlayFile::open(path).cow_state() == CowState::invalid);
        OverlayFile::open_writable(path).make_valid();
        CHECK(OverlayFile::open(path).cow_state() == CowState::valid);
    }
    SECTION("of another chunk size") {
        const TempDir directory;
        const std::string path = with_cow(directory, cow.put32(12, 8));
        CHECK(
            failure_of([&] { OverlayFile::open(path).cow_state(); }) ==
            Failure{ErrorKind::format, concat("'", path,
                                              "': the exception store has chunks of 8 sectors, the overlay's "
                                              "header says 32")});
    }
    SECTION("something else") {
        const TempDir directory;
        const std::string path = with_cow(directory, cow.put32(0, 1));
        CHECK(failure_of([&] { OverlayFile::open(path).cow_state(); }) ==
              Failure{ErrorKind::format,
                      concat("'", path,
                             "': byte 1048576 does not begin a snapshot's exception store of version 1")});
    }
}

TEST_CASE("the name of an overlay is removed only while it is the overlay's") {
    const TempDir directory;
    const OverlayFile overlay = OverlayFile::create(directory.path("o"), example());
    fs::rename(directory.path("o"), directory.path("p"));
    directory.write("o", "another");
    overlay.remove_name();
    CHECK(fs::exists(directory.path("o")));
    fs::rename(directory.path("p"), directory.path("o"));
    overlay.remove_name();
    CHECK(!fs::exists(directory.path("o")));
}

}  // namespace
}  // namespace vmdkdm
