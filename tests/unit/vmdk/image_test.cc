#include "vmdk/image.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "support/blob.h"
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
    CHECK(refusal("") == format("empty (was it copied whole?)"));
    CHECK(refusal(std::string(4096, '\0')) == format(expected));
    CHECK(refusal("# Disk DescriptorFile\n") == format(expected));
    MemoryFiles files;
    files.add("/vm/x-flat.vmdk", std::string(512, '\0'));
    CHECK(failure_of([&] { read_image("/vm/x-flat.vmdk", files); }) ==
          Failure{ErrorKind::format,
                  "it looks like the data of an image, and not like its descriptor: name '/vm/x.vmdk', or "
                  "whatever descriptor lies beside it"});
}

TEST_CASE("what is another kind of file is called by its name, with the next step") {
    const auto refusal = [](std::string content, const std::string& name = "/vm/x") {
        MemoryFiles files;
        if (content.size() < 8192) content.resize(8192);
        files.add(name, std::move(content));
        return failure_of([&] { read_image(name, files); }).text;
    };
    const auto at = [](std::size_t offset, const std::string& text) {
        return std::string(offset, '\0') + text;
    };
    const std::string other =
        " image and no VMDK (qemu-nbd shows it as a device; qemu-img convert -O vmdk makes a VMDK of it)";
    CHECK(refusal("QFI\xfb") == "it is a qcow2" + other);
    CHECK(refusal(at(0x40, "\x7f\x10\xda\xbe")) == "it is a VDI" + other);
    CHECK(refusal("vhdxfile") == "it is a VHDX" + other);
    CHECK(refusal("conectix") == "it is a VHD" + other);
    CHECK(refusal(at(7680, "conectix")) == "it is a VHD" + other);
    const std::string unpack = ": unpack it first, and name the .vmdk that comes out";
    CHECK(refusal(at(257, "ustar")) == "it is a tar archive, such as an OVA (tar -xf)" + unpack);
    CHECK(refusal("\x1f\x8b") == "it is compressed with gzip (gunzip)" + unpack);
    CHECK(refusal("\xfd\x37zXZ\0"s) == "it is compressed with xz (unxz)" + unpack);
    CHECK(refusal("\x28\xb5\x2f\xfd") == "it is compressed with zstd (unzstd)" + unpack);
    CHECK(refusal("PK\3\4") == "it is a zip archive (unzip)" + unpack);
    CHECK(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:1\n") ==
          "it is a pointer of Git LFS, and not the file itself (git lfs pull brings that)");
    CHECK(refusal(".encoding = \"UTF-8\"\nconfig.version = \"8\"\n") ==
          "it is the configuration of a virtual machine (.vmx): name one of the .vmdk files that it names");
    CHECK(refusal(".encoding = \"UTF-8\"\r\nsnapshot.lastUID = \"1\"\r\n") ==
          "it is a list of snapshots (.vmsd): name one of the .vmdk files that it names");
    CHECK(refusal("<?xml version=\"1.0\"?>\n<Envelope xmlns=\"x\">") ==
          "it is the description of a virtual machine (.ovf): name one of the .vmdk files beside it");
    const std::string raw =
        ", and no VMDK (losetup --find --show --read-only --partscan shows it as a device)";
    CHECK(refusal(at(512, "EFI PART")) == "it is a raw disk with a GPT" + raw);
    CHECK(refusal(at(4096, "EFI PART")) == "it is a raw disk with a GPT" + raw);
    CHECK(refusal(at(450, "\x83") + at(59, "\x55\xaa")) == "it is a raw disk with an MBR" + raw);
    CHECK(refusal(at(510, "\x55\xaa")) ==
          "it is not a VMDK descriptor (expected a text with a 'version' line)");
    CHECK(refusal("QFI\xfb", "/vm/web-f001.vmdk") ==
          "it looks like the data of an image, and not like its descriptor: name '/vm/web.vmdk', or whatever "
          "descriptor lies beside it");
}

TEST_CASE("a descriptor in UTF-16 or with lines that end with CR alone is read") {
    const std::string text =
        "version=1\nencoding=\"windows-1252\"\nRW 1 FLAT \"M\xc3\xbcller \xf0\x9f\x98\x80\" 0\n";
    const auto utf16 = [](bool big) {
        std::string units;
        for (const char16_t unit : std::u16string(
                 u"version=1\nencoding=\"windows-1252\"\nRW 1 FLAT \"M\u00fcller \U0001f600\" 0\n")) {
            const char high = static_cast<char>(unit >> 8);
            const char low = static_cast<char>(unit & 0xff);
            units += {big ? high : low, big ? low : high};
        }
        return units;
    };
    std::string with_cr = text;
    std::replace(with_cr.begin(), with_cr.end(), '\n', '\r');
    for (const std::string& form :
         {utf16(false), utf16(true), "\xff\xfe" + utf16(false), "\xfe\xff" + utf16(true), with_cr}) {
        MemoryFiles files;
        files.add_hole("/vm/M\xc3\xbcller \xf0\x9f\x98\x80", Bytes(512));
        CHECK(show(map_text(files, form).map) == "0+1 data /vm/M\xc3\xbcller \xf0\x9f\x98\x80@0\n");
    }
    MemoryFiles files;
    files.add(image_path, "\xff\xfe" + utf16(false));
    CHECK(read_image(image_path, files).descriptor.encoding == "UTF-8");
}

TEST_CASE("an absolute name of another host gives the file of that name beside the descriptor, with a note") {
    for (const std::string name :
         {"C:\\VMs\\web\\x-flat.vmdk", "/vmfs/volumes/ds1/web/x-flat.vmdk", "\\\\server\\share\\x-flat.vmdk",
          "[ds1] web/x-flat.vmdk", "[ds1] x-flat.vmdk"}) {
        MemoryFiles files;
        files.add_hole("/vm/x-flat.vmdk", Bytes(512));
        const Mapped mapped = map_text(files, concat("version=1\nRW 1 FLAT \"", name, "\" 0\n"));
        CHECK(show(mapped.map) == "0+1 data /vm/x-flat.vmdk@0\n");
        CHECK(mapped.notes == std::vector<std::string>{concat("the extent on line 2 is '", name,
                                                              "'; '/vm/x-flat.vmdk' is read for it")});
    }
    MemoryFiles files;
    files.add_hole("/elsewhere/x", Bytes(512));
    files.add_hole("/vm/x", Bytes(512));
    const Mapped mapped = map_text(files, "version=1\nRW 1 FLAT \"/elsewhere/x\" 0\n");
    CHECK(show(mapped.map) == "0+1 data /elsewhere/x@0\n");
    CHECK(mapped.notes.empty());
    const auto refusal = [&files](const std::string& name) {
        return failure_of([&] { map_text(files, concat("version=1\nRW 1 FLAT \"", name, "\" 0\n")); });
    };
    // What is not there is called as the descriptor calls it; a device has no name that a file could have.
    CHECK(refusal("/vmfs/gone") ==
          Failure{ErrorKind::not_found,
                  "extent 1 (line 2): cannot open '/vmfs/gone': No such file or directory"});
    CHECK(refusal("/dev/x").kind == ErrorKind::not_found);
    CHECK(refusal("sub/x").kind == ErrorKind::not_found);
    CHECK(refusal("vsan://5e/x") == Failure{ErrorKind::format,
                                            "extent 1 (line 2): 'vsan://5e/x' is an object on a vSAN "
                                            "datastore, which only its ESXi hosts can "
                                            "read (copy the disk off it there, with vmkfstools -i)"});
}

// A sparse extent with its descriptor in sectors 1 to 4, of `capacity` sectors; no table.
std::string embedding(const std::string& descriptor, std::uint64_t capacity, std::uint64_t directory = 5) {
    test::Blob file(16);
    file.put_text(0, "KDMV")
        .put32(4, 1)
        .put32(8, 1)
        .put64(12, capacity)
        .put64(20, 16)
        .put64(28, 1)
        .put64(36, 4);
    file.put32(44, 512).put64(56, directory).put64(64, 6).put_text(73, "\n \r\n").put_text(512, descriptor);
    return file.bytes();
}

TEST_CASE("an embedded descriptor may leave its own file's name empty") {
    MemoryFiles files;
    const Mapped mapped = map_text(files, embedding("version=1\nRW 100 SPARSE \"\"\n", 100));
    CHECK(show(mapped.map) == "0+100 zero\n");
    CHECK(mapped.notes.empty());
    CHECK(failure_of([&] { map_text(files, "version=1\nRW 100 SPARSE \"\"\n"); }).kind == ErrorKind::format);
    for (const char* lines : {"RW 100 FLAT \"\" 0\n", "RW 100 SPARSE \"x\"\nRW 1 SPARSE \"\"\n"})
        CHECK(failure_of([&] { map_text(files, embedding(concat("version=1\n", lines), 100)); }).kind ==
              ErrorKind::format);
    // Without a capacity the header is none of an extent, and the name must lead somewhere.
    CHECK(failure_of([&] { map_text(files, embedding("version=1\nRW 100 SPARSE \"\"\n", 0)); }) ==
          Failure{ErrorKind::format, "extent 1 (line 2): the file name is empty"});
}

TEST_CASE("an embedded descriptor may name its own file as flat data, behind itself") {
    MemoryFiles files;
    const auto flat = [&files](unsigned offset) {
        return map_text(files, embedding(concat("version=1\nRW 8 FLAT \"disk.vmdk\" ", offset, "\n"), 0, 0));
    };
    CHECK(show(flat(5).map) == "0+8 data /vm/disk.vmdk@5\n");
    for (const unsigned offset : {0U, 1U, 4U})
        CHECK(failure_of([&] { flat(offset); }) ==
              Failure{ErrorKind::format, "extent 1 (line 2): it names the descriptor itself as its data"});
}

TEST_CASE("a descriptor can be read where the stream that it is in has lost its end") {
    MemoryFiles files;
    files.add(image_path, embedding("version=1\nRW 100 SPARSE \"\"\n", 100, ~std::uint64_t{0}));
    CHECK(read_image(image_path, files).descriptor.capacity() == Sectors(100));
    CHECK(failure_of([&] {
              map_text(files, embedding("version=1\nRW 100 SPARSE \"\"\n", 100, ~std::uint64_t{0}));
          }).text.ends_with("cut short: the file does not end with a footer and an end-of-stream marker"));
}

TEST_CASE("too many open files say how many are needed") {
    class FullFiles : public FileOpener {
      public:
        FilePtr open_image(const std::string& path) override { return files.open_image(path); }
        FilePtr open_beside(const File&, const std::string& name) override {
            throw system_error(concat("'", name, "'"), EMFILE);
        }
        MemoryFiles files;
    } files;
    files.files.add(image_path, "version=1\nRW 1 FLAT \"a\" 0\nRW 1 FLAT \"b\" 0\n");
    const Image image = read_image(image_path, files);
    std::vector<std::string> notes;
    CHECK(failure_of([&] { map_image(image, files, {}, notes); }) ==
          Failure{ErrorKind::system,
                  "extent 1 (line 2): 'a': Too many open files: the image's 2 extents need a limit of 68 "
                  "(see ulimit "
                  "-n)"});
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
