#include "reader/confined_reader.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/concat.h"
#include "files/confined_opener.h"
#include "reader/chain_value.h"
#include "reader/check_value.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::TempDir;

const std::string descriptor =
    "# Disk DescriptorFile\nversion=1\nencoding=\"windows-1252\"\nCID=12345678\nparentCID=ffffffff\n"
    "createType=\"custom\"\nRW 8 FLAT \"M\xfcller.vmdk\" 0\nRW 8 ZERO\nRW 8 FLAT \"sub/b\" 4\n"
    "ddb.adapterType = \"lsilogic\"\n";

struct Place : TempDir {
    Place() {
        write("disk.vmdk", descriptor);
        write_hole("M\xc3\xbcller.vmdk", 8 * 512);
        write_hole("sub/b", 12 * 512);
    }
    std::string image() const { return path("disk.vmdk"); }
};

ReadDisk read(const Place& place) {
    ConfinedOpener opener({});
    return read_disk_confined(place.image(), opener, {});
}

TEST_CASE("an image read in a child is what it is when read here") {
    const Place place;
    ConfinedOpener opener({});
    std::vector<std::string> notes;
    const ImageChain chain = read_chain(place.image(), opener, {}, notes);
    const BlockMap map = map_chain(chain, opener, {}, notes);

    const ReadDisk disk = read(place);
    CHECK(std::vector(disk.map.begin(), disk.map.end()) == std::vector(map.begin(), map.end()));
    CHECK(disk.notes == notes);
    REQUIRE(disk.chain.images.size() == 1);
    CHECK(disk.chain.images[0].path == place.image());
    const Descriptor& read_there = disk.chain.images[0].descriptor;
    const Descriptor& read_here = chain.images[0].descriptor;
    CHECK(read_there.cid == read_here.cid);
    CHECK(read_there.create_type == "custom");
    CHECK(read_there.header == read_here.header);
    CHECK(read_there.ddb.entries() == read_here.ddb.entries());
    CHECK(read_there.extents.size() == 3);
    CHECK(read_there.extents[2].position.line == 9);
    CHECK(read_there.capacity() == Sectors(24));
}

// The converter of windows-1252 is a file of the C library's, which the first child cannot open.
TEST_CASE("names in another character set are found, and files are our own") {
    const Place place;
    const ReadDisk disk = read(place);
    REQUIRE(disk.files.size() == 3);
    CHECK(disk.files[0]->path() == place.image());
    CHECK(disk.files[1]->path() == place.path("M\xc3\xbcller.vmdk"));
    CHECK(disk.files[2]->path() == place.path("sub/b"));
    for (const FilePtr& file : disk.files) CHECK(file->fd() >= 0);
}

TEST_CASE("what the reader refuses is refused in the same words") {
    const Place place;
    std::filesystem::resize_file(place.path("sub/b"), 5 * 512);
    CHECK(
        failure_of([&] { read(place); }) ==
        Failure{ErrorKind::format, concat("extent 3 (line 9): '", place.path("sub/b"),
                                          "' is too short: 2560 bytes, expected 6144 (see --allow-short)")});
    place.write("disk.vmdk", "version=1\nRW x FLAT \"a\"\n");
    CHECK(failure_of([&] { read(place); }).text.starts_with(concat(place.image(), ":2:4: ")));
}

// A child that answers something else than it was asked for.
Failure failure_of_answer(const Place& place, const std::function<void(FileOpener&, Encoder&)>& answer) {
    ConfinedOpener opener({});
    Reading reading{place.image(), opener};
    reading.read = [&](FileOpener& asking, ParentLink&, Encoder& value) { answer(asking, value); };
    reading.decode = [&](Decoder& from, const std::vector<FilePtr>& files) {
        decode_chain(from, files, place.image());
    };
    return failure_of([&] { read_confined(reading); });
}

Failure impossible(const std::string& why) {
    return {ErrorKind::format, concat("it made the reader answer what cannot be (", why,
                                      "): this is a bug in vmdk-dm; nothing was done")};
}

TEST_CASE("a chain that cannot be is refused") {
    const Place place;
    const auto answered = [&place](std::initializer_list<std::uint64_t> numbers) {
        return failure_of_answer(place, [numbers](FileOpener& files, Encoder& value) {
            files.open_image("");
            for (const std::uint64_t number : numbers) value.number(number);
        });
    };
    CHECK(answered({0}) == impossible("a chain without a link"));
    CHECK(answered({257}) == impossible("the number of links is 257, more than 256"));
    CHECK(answered({1, 1}) == impossible("a descriptor was not opened"));
    CHECK(answered({1, 0, std::uint64_t{1} << 32}) ==
          impossible("the version of a descriptor is 4294967296, more than 4294967295"));
    CHECK(answered({1, 0, 1, 5 << 20}) == impossible("the length of a text is 5242880, more than 4194304"));
    // Version, encoding, CIDs, two texts and no header lines; then the extents.
    CHECK(answered({1, 0, 1, 0, 0, 0, 0, 0, 0, 32769}) ==
          impossible("the number of extents is 32769, more than 32768"));
    CHECK(answered({1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 3}) ==
          impossible("the access of an extent is 3, more than 2"));
    CHECK(answered({1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 8, 9}) ==
          impossible("the type of an extent is 9, more than 8"));
    CHECK(answered({1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, max_capacity.count() + 1, 0, 0, 0, 1, 1}) ==
          impossible("a disk is larger than any can be"));
    CHECK(answered({1, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, ~std::uint64_t{0}, 0, 0, 0, 1, 1, 0, ~std::uint64_t{0},
                    0, 0, 0, 1, 1}) == impossible("a disk is larger than any can be"));
}

TEST_CASE("names in a descriptor cannot write to a terminal what they like") {
    const Place place;
    CHECK(failure_of_answer(place, [&place](FileOpener& files, Encoder& value) {
              ImageChain chain;
              chain.images.push_back({place.image(), files.open_image(""), Descriptor(), std::nullopt});
              ExtentDescriptor extent;
              extent.file_name = "\033[2J";
              chain.images[0].descriptor.extents.push_back(extent);
              encode_chain(value, chain, [](const File&) { return 0U; });
          }) == impossible("a file name holds a control character"));
}

TEST_CASE("a link that is there twice is refused") {
    const Place place;
    CHECK(failure_of_answer(place, [&place](FileOpener& files, Encoder& value) {
              ImageChain chain;
              for (int i = 0; i < 2; ++i)
                  chain.images.push_back({place.image(), files.open_image(""), Descriptor(), std::nullopt});
              encode_chain(value, chain, [](const File&) { return 0U; });
          }) == impossible("a link of the chain is there twice"));
}

TEST_CASE("notes come back as they were, and cut") {
    Encoder said;
    encode_texts(said, {"one", "\033]0;title\a", std::string(1 << 20, 'x')});
    Decoder from(said.bytes());
    const std::vector<std::string> texts = decode_texts(from);
    REQUIRE(texts.size() == 3);
    CHECK(texts[1] == "\033]0;title\a");
    CHECK(texts[2].size() == 16 << 10);
}

TEST_CASE("a report of findings comes back as it was, and is refused when its sums are wrong") {
    CheckedImage checked;
    checked.path = "/a/b.vmdk";
    checked.files = 3;
    for (int i = 0; i < 60; ++i)
        checked.findings.faults.add(FindingKind::grain, "/a/c", Bytes(512), [] { return "torn"; });
    checked.findings.notes.add(FindingKind::unused, "/a/c", Bytes(0), [] { return "\033"; });
    Encoder said;
    encode_report(said, checked);
    Decoder from(said.bytes());
    const CheckReport report = decode_report(from);
    CHECK(report.path == "/a/b.vmdk");
    CHECK(report.files == 3);
    CHECK(report.findings.faults.count() == 60);
    CHECK(report.findings.faults.kept() == checked.findings.faults.kept());
    CHECK(report.findings.notes.kept().at(0).text == "\033");

    const auto problem_of = [](std::initializer_list<std::uint64_t> numbers) -> std::string {
        Encoder value;
        value.text("/a");
        for (const std::uint64_t number : numbers) value.number(number);
        Decoder decoder(value.bytes());
        try {
            decode_report(decoder);
        } catch (const BadValue& error) {
            return error.what();
        }
        return "none";
    };
    CHECK(problem_of({1, 1, 0, 0, 0, 0}) == "none");
    CHECK(problem_of({257}) == "the number of layers is 257, more than 256");
    CHECK(problem_of({1, 1, 1, 6, 1, 0, 0, 0}) == "a kind of findings has none");
    CHECK(problem_of({1, 1, 1, 12, 1}) == "the kind of a finding is 12, more than 11");
    CHECK(problem_of({1, 1, 0, 1, 6, 0, 0, 0}) == "findings are not as many as they are said to be");
    CHECK(problem_of({1, 1, 1, 6, 2, 1, 6, 0, 0, 0, 0, 0}) ==
          "findings are not as many as they are said to be");
}

// A child says what is to come and ends there. In the parent that once took a gigabyte and more.
TEST_CASE("lines and notes that are only said to come take no memory") {
    const auto ends_early = [](const Encoder& said, const std::function<void(Decoder&)>& decode) {
        bool given = false;
        Decoder from([&] { return std::exchange(given, true) ? std::span<const std::byte>() : said.bytes(); },
                     max_value);
        CHECK_THROWS_WITH(decode(from), "it ends too early");
    };
    test::MemoryFiles memory;
    const std::vector<FilePtr> files = {memory.add("/disk.vmdk", "")};
    constexpr std::uint64_t many = 20'000'000;
    Encoder chain;
    for (const std::uint64_t number : {1, 0, 1}) chain.number(number);  // a link, its file, its version
    chain.text("");                                                     // its encoding
    for (const std::uint64_t number : {1, 2}) chain.number(number);     // CIDs
    for (int i = 0; i < 2; ++i) chain.text("");                         // its type and parent
    chain.number(many);
    ends_early(chain, [&](Decoder& from) { decode_chain(from, files, "disk.vmdk"); });
    Encoder notes;
    notes.number(many);
    ends_early(notes, [](Decoder& from) { decode_texts(from); });
    struct rusage used = {};
    ::getrusage(RUSAGE_SELF, &used);
    CHECK(used.ru_maxrss < 500'000);  // KiB
}

}  // namespace
}  // namespace vmdkdm
