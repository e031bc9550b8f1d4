#include "vmdk/image.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/concat.h"
#include "support/failure.h"
#include "support/map_image.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using namespace std::string_literals;

constexpr const char* image_path = "/vm/disk.vmdk";

struct Mapped {
    BlockMap map;
    std::vector<std::string> notes;
};

Mapped map_text(MemoryFiles& files, const std::string& text, const ReadRules& rules = {}) {
    files.add(image_path, text);
    const Image image = read_image(image_path, files);
    std::vector<std::string> notes;
    BlockMap map = map_image(image, files, rules, notes);
    return {std::move(map), std::move(notes)};
}

// One line a run: "0+8 data /vm/a@0", in sectors.
std::string show(const BlockMap& map) {
    struct Show {
        const BlockMap& map;
        std::string operator()(const Stored& stored) const {
            return concat("data ", map.files()[stored.file].file->path(), "@", stored.sector.count());
        }
        std::string operator()(const Zero&) const { return "zero"; }
        std::string operator()(const Compressed&) const { return "compressed"; }
        std::string operator()(const Unreadable& unreadable) const {
            return concat("unreadable: ", map.reasons()[unreadable.why].text);
        }
    };
    std::string text;
    for (const Run& run : map)
        text +=
            concat(run.start.count(), "+", run.length.count(), " ", std::visit(Show{map}, run.content), "\n");
    return text;
}

TEST_CASE("a ZERO extent keeps its place on the disk") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(4096));
    files.add_hole("/vm/b", Bytes(4096));
    CHECK(show(map_text(files, "version=1\nRW 8 FLAT \"a\" 0\nRW 100 ZERO\nRW 8 FLAT \"b\" 0\n").map) ==
          "0+8 data /vm/a@0\n8+100 zero\n108+8 data /vm/b@0\n");
}

TEST_CASE("a RDONLY extent is read like any other") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(4096));
    CHECK(show(map_text(files, "version=1\nRW 1 ZERO\nRDONLY 8 FLAT \"a\" 0\nRW 1 ZERO\n").map) ==
          "0+1 zero\n1+8 data /vm/a@0\n9+1 zero\n");
}

TEST_CASE("a NOACCESS extent is unreadable and keeps its place") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(4096));
    CHECK(
        show(
            map_text(files, "version=1\nNOACCESS 63 ZERO\nRW 8 FLAT \"a\"\nNOACCESS 8 FLAT \"a\" 0\n").map) ==
        "0+63 unreadable: the descriptor says NOACCESS\n63+8 data /vm/a@0\n"
        "71+8 unreadable: the descriptor says NOACCESS\n");
}

TEST_CASE("a FLAT offset counts sectors") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(512 * 100));
    CHECK(show(map_text(files, "version=1\nRW 8 FLAT \"a\" 92\nRW 8 VMFS \"a\" 4\n").map) ==
          "0+8 data /vm/a@92\n8+8 data /vm/a@4\n");
}

TEST_CASE("extents that go on in the same file are one run") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(8192));
    CHECK(show(map_text(files, "version=1\nRW 8 FLAT \"a\" 0\nRDONLY 8 VMFSRAW \"a\" 8\n").map) ==
          "0+16 data /vm/a@0\n");
}

TEST_CASE("a file may be longer than its extent, but not shorter") {
    MemoryFiles files;
    files.add_hole("/vm/long", Bytes(8192));
    files.add_hole("/vm/short", Bytes(4095));
    CHECK(show(map_text(files, "version=1\nRW 8 FLAT \"long\" 0\n").map) == "0+8 data /vm/long@0\n");
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 1 ZERO\nRW 8 FLAT \"short\" 0\n"); }) ==
          Failure{ErrorKind::format,
                  "extent 2 (line 3): '/vm/short' is too short: 4095 bytes, expected 4096 (see "
                  "--allow-short)"});
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 8 FLAT \"long\" 9\n"); }) ==
          Failure{ErrorKind::format,
                  "extent 1 (line 2): '/vm/long' is too short: 8192 bytes, expected 8704 (see "
                  "--allow-short)"});
    CHECK(failure_of([&] { map_text(files, "version=1\nNOACCESS 8 FLAT \"short\" 0\n"); }).kind ==
          ErrorKind::format);
}

TEST_CASE("a short file that is allowed has an unreadable tail, never zeros") {
    MemoryFiles files;
    files.add_hole("/vm/short", Bytes(4095));
    const ReadRules allow_short{true};
    CHECK(show(map_text(files, "version=1\nRW 10 FLAT \"short\" 2\nRW 1 ZERO\n", allow_short).map) ==
          "0+5 data /vm/short@2\n5+5 unreadable: '/vm/short' ends at byte 4095\n10+1 zero\n");
    CHECK(show(map_text(files, "version=1\nRW 10 FLAT \"short\" 100\n", allow_short).map) ==
          "0+10 unreadable: '/vm/short' ends at byte 4095\n");
}

TEST_CASE("a file of which no sector is used is not part of the disk") {
    MemoryFiles files;
    files.add_hole("/vm/short", Bytes(511));
    CHECK(map_text(files, "version=1\nRW 10 FLAT \"short\" 0\n", ReadRules{true}).map.files().empty());
}

TEST_CASE("the same file may serve twice; a note is given when sectors are shared") {
    MemoryFiles files;
    files.add_hole("/vm/a", Bytes(8192));
    CHECK(map_text(files, "version=1\nRW 8 FLAT \"a\" 8\nRW 8 FLAT \"a\" 0\n").notes.empty());
    const Mapped mapped = map_text(files, "version=1\nRW 8 FLAT \"a\" 0\nRW 1 ZERO\nRW 8 FLAT \"a\" 7\n");
    CHECK(mapped.map.files().size() == 1);
    CHECK(mapped.notes == std::vector<std::string>{"the extents on lines 2 and 4 share sectors of '/vm/a'"});
}

TEST_CASE("I/O filters are noted") {
    MemoryFiles files;
    CHECK(map_text(files, "version=1\nRW 1 ZERO\nddb.iofilters = \"vmwarelwd\"\n").notes ==
          std::vector<std::string>{
              "I/O filters were active on '/vm/disk.vmdk' (vmwarelwd); newer data may be elsewhere"});
}

TEST_CASE("an extent that names the descriptor itself is refused") {
    MemoryFiles files;
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 1 FLAT \"disk.vmdk\" 0\n"); }) ==
          Failure{ErrorKind::format, "extent 1 (line 2): it names the descriptor itself as its data"});
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 1 FLAT \"x/../disk.vmdk\" 0\n"); }) ==
          Failure{ErrorKind::format, "extent 1 (line 2): it names the descriptor itself as its data"});
}

TEST_CASE("types that cannot be mapped are refused with the reason") {
    MemoryFiles files;
    const auto refusal = [&](const std::string& type) {
        return failure_of([&] { map_text(files, concat("version=1\nRW 1 ", type, " \"a\"\n")); });
    };
    const std::string lun =
        ": the data of a raw device mapping is on its LUN, which the descriptor does not name";
    const std::string in_front = "extent 1 (line 2): it is of type ";
    CHECK(refusal("VMFSRDM") == Failure{ErrorKind::format, in_front + "VMFSRDM" + lun});
    CHECK(refusal("VMFSPASSTHROUGHRAWDEVICEMAP") == Failure{ErrorKind::format, in_front + "VMFSRDM" + lun});
    CHECK(refusal("VSANSPARSE") ==
          Failure{ErrorKind::format, in_front + "VSANSPARSE: vSAN objects can be read on their host only"});
}

TEST_CASE("a missing file is named as the descriptor means it") {
    MemoryFiles files;
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 1 FLAT \"gone.vmdk\" 0\n"); }) ==
          Failure{ErrorKind::not_found,
                  "extent 1 (line 2): cannot open '/vm/gone.vmdk': No such file or directory"});
    // Of the spellings that were tried the best is named, not the last.
    CHECK(failure_of([&] {
              map_text(files, "version=1\nencoding=\"windows-1252\"\nRW 1 FLAT \"\xfc\" 0\n");
          }) == Failure{ErrorKind::not_found,
                        "extent 1 (line 3): cannot open '/vm/\xc3\xbc': No such file or directory"});
}

TEST_CASE("a device of a Windows host is not looked for") {
    MemoryFiles files;
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 1 FLAT \"\\\\.\\PhysicalDrive0\" 0\n"); }) ==
          Failure{ErrorKind::format,
                  "extent 1 (line 2): '\\\\.\\PhysicalDrive0' is a device of a Windows host"});
}

TEST_CASE("names are tried in the declared encoding, as bytes, and with the other separator") {
    MemoryFiles files;
    files.add_hole("/vm/M\xc3\xbcller.vmdk", Bytes(512));
    files.add_hole("/vm/raw\xfc.vmdk", Bytes(512));
    files.add_hole("/vm/sub/disk.vmdk", Bytes(512));
    files.add_hole("/vm/\xe8\xa1\xa8.vmdk", Bytes(512));
    const std::string windows = "version=1\nencoding=\"windows-1252\"\n";
    CHECK(show(map_text(files, windows + "RW 1 FLAT \"M\xfcller.vmdk\" 0\n").map) ==
          "0+1 data /vm/M\xc3\xbcller.vmdk@0\n");
    CHECK(show(map_text(files, windows + "RW 1 FLAT \"raw\xfc.vmdk\" 0\n").map) ==
          "0+1 data /vm/raw\xfc.vmdk@0\n");
    CHECK(show(map_text(files, windows + "RW 1 FLAT \"sub\\disk.vmdk\" 0\n").map) ==
          "0+1 data /vm/sub/disk.vmdk@0\n");
    CHECK(show(map_text(files, "version=1\nencoding=\"Shift_JIS\"\nRW 1 FLAT \"\x95\x5c.vmdk\" 0\n").map) ==
          "0+1 data /vm/\xe8\xa1\xa8.vmdk@0\n");
}

TEST_CASE("what is no descriptor is told apart by its first bytes") {
    const auto refusal = [](const std::string& content) {
        return failure_of([&] {
            MemoryFiles files;
            files.add(image_path, content);
            read_image(image_path, files);
        });
    };
    const auto format = [](const std::string& text) { return Failure{ErrorKind::format, "it is " + text}; };
    const std::string no_descriptor = ": name the descriptor that goes with it";
    const std::string cut = concat("'", image_path, "': the file is shorter than a sparse extent's header");
    CHECK(refusal("KDMV\1\0\0\0more"s) == Failure{ErrorKind::format, cut});
    CHECK(refusal("KDMV") == Failure{ErrorKind::format, cut});
    CHECK(refusal("COWD\1\0\0\0more"s) == format("an ESX sparse extent (COWD)" + no_descriptor));
    CHECK(refusal("\xbe\xba\xfe\xca\0\0\0\0more"s) == format("an seSparse extent" + no_descriptor));
    CHECK(refusal("\xa2\x72\x19\xf6\0\0\0\0more"s) ==
          format("a change-tracking file (CTK), which holds no disk data" + no_descriptor));
    const std::string expected = "not a VMDK descriptor (expected a text with a 'version' line)";
    CHECK(refusal("") == format(expected));
    CHECK(refusal(std::string(4096, '\0')) == format(expected));
    CHECK(refusal("# Disk DescriptorFile\n") == format(expected));
    MemoryFiles files;
    files.add("/vm/x-flat.vmdk", std::string(512, '\0'));
    CHECK(failure_of([&] { read_image("/vm/x-flat.vmdk", files); }) ==
          Failure{ErrorKind::format,
                  "it is not a VMDK descriptor (it looks like the data of an image: name the "
                  "descriptor beside it)"});
}

TEST_CASE("a descriptor longer than one page is read whole") {
    MemoryFiles files;
    std::string text = "version=1\n";
    for (int i = 0; i < 1000; ++i) text += concat("# line ", i, "\n");
    text += "RW 7 ZERO\n";
    CHECK(map_text(files, text).map.capacity() == Sectors(7));
}

TEST_CASE("a descriptor that is too long is refused with its length") {
    MemoryFiles files;
    files.add(image_path, "version=1\nRW 1 ZERO\n#" + std::string(5 << 20, 'x'));
    CHECK(failure_of([&] { read_image(image_path, files); }) ==
          Failure{ErrorKind::format, "the descriptor is 5242901 bytes long (at most 4194304 are read)"});
}

}  // namespace
}  // namespace vmdkdm
