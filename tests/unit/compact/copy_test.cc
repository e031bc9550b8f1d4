#include "compact/copy.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "base/concat.h"
#include "compact/damage.h"
#include "compact/output_file.h"
#include "files/local_file.h"
#include "support/failure.h"
#include "support/grains.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::compressed_grain;
using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using test::numbered;
using test::TempDir;

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct Copied {
    CopyResult result;
    std::string bytes;
};

Copied copy(const BlockMap& map, const CopyOptions& options = {}) {
    const TempDir directory;
    SilentProgress progress;
    OutputFile output(directory.path("out.raw"), to_bytes(map.capacity()), false, 0600);
    const CopyTarget target{output.fd(), output.path(), false};
    CopyResult result = copy_disk(map, &target, options, progress);
    output.publish(false);
    return {std::move(result), read_file(directory.path("out.raw"))};
}

std::string sha256(const std::string& text) {
    Hasher hasher(HashAlgorithm::sha256);
    hasher.update(std::as_bytes(std::span(text)));
    return hasher.finish();
}

// Two grains of 8 sectors of an extent of 20 sectors at sector 4 of the disk, the second shown in two pieces
// around a sector of a child; zeros; and stored sectors before and after, not in the order of their file.
struct MixedDisk {
    MemoryFiles files;
    BlockMap map;
    std::string bytes;

    explicit MixedDisk(std::string second_grain = compressed_grain(8, numbered(8, 8)))
        : map(build(std::move(second_grain))) {
        bytes = numbered(104, 4, "plain") + numbered(0, 8) + numbered(8, 3) + numbered(100, 1, "plain") +
                numbered(12, 4) + std::string(4 * 512, '\0') + numbered(101, 3, "plain");
    }

  private:
    BlockMap build(std::string second_grain) {
        const FilePtr plain = files.add("/plain", numbered(100, 50, "plain"));
        std::string stream = std::string(512, 'x') + compressed_grain(0, numbered(0, 8));
        const Sectors second(stream.size() / 512);
        stream += second_grain;
        BlockMap::Builder builder;
        const FileIndex stored = builder.add_file(plain, 0);
        const FileIndex packed = builder.add_file(files.add("/stream", stream), 1,
                                                  GrainLayout{Sectors(4), Sectors(20), Sectors(8)});
        builder.append(Sectors(4), Stored{stored, Sectors(4)});
        builder.append(Sectors(8), Compressed{packed, 0, Sectors(1)});
        builder.append(Sectors(3), Compressed{packed, 0, second});
        builder.append(Sectors(1), Stored{stored, Sectors(0)});
        builder.append(Sectors(4), Compressed{packed, 4, second});
        builder.append(Sectors(4), Zero{1});
        builder.append(Sectors(3), Stored{stored, Sectors(1)});
        return std::move(builder).build();
    }
};

TEST_CASE("every run arrives at its place, whatever its kind and the order of the work") {
    const MixedDisk disk;
    CopyOptions options;
    const bool in_order = GENERATE(false, true);
    if (in_order) options.hashes = {HashAlgorithm::sha256, HashAlgorithm::md5};
    const Copied copied = copy(disk.map, options);
    CHECK(copied.bytes == disk.bytes);
    CHECK(copied.result.copied == Bytes(8 * 512));
    CHECK(copied.result.inflated == Bytes(15 * 512));
    CHECK(copied.result.zero == Bytes(4 * 512));
    if (in_order) CHECK(copied.result.hashes.front().hex == sha256(disk.bytes));
}

TEST_CASE("hashing needs no target") {
    const MixedDisk disk;
    SilentProgress progress;
    CopyOptions options;
    options.hashes = {HashAlgorithm::sha256};
    CHECK(copy_disk(disk.map, nullptr, options, progress).hashes.front().hex == sha256(disk.bytes));
}

TEST_CASE("compressed runs alone leave holes for the others") {
    const MixedDisk disk;
    CopyOptions options;
    options.extract = Extract::compressed;
    const Copied copied = copy(disk.map, options);
    CHECK(copied.bytes.substr(4 * 512, 11 * 512) == disk.bytes.substr(4 * 512, 11 * 512));
    CHECK(copied.bytes.substr(0, 4 * 512) == std::string(4 * 512, '\0'));
    CHECK(copied.bytes.substr(24 * 512) == std::string(3 * 512, '\0'));
    CHECK(copied.result.copied == Bytes(0));
}

TEST_CASE("a grain that does not inflate is refused, or zeros and a list of what they hide") {
    const MixedDisk disk(compressed_grain(0, numbered(0, 8)));
    const std::string reason =
        "'/stream': the compressed grain at byte 1024 is for sector 0 of the extent, expected 8";
    CHECK(failure_of([&] { copy(disk.map); }) ==
          Failure{ErrorKind::format, concat("the image is damaged: ", reason, " (see --allow-damaged)")});

    CopyOptions options;
    options.allow_damaged = true;
    const Copied copied = copy(disk.map, options);
    std::string expected = disk.bytes;
    expected.replace(12 * 512, 3 * 512, 3 * 512, '\0');
    expected.replace(16 * 512, 4 * 512, 4 * 512, '\0');
    CHECK(copied.bytes == expected);
    REQUIRE(copied.result.damaged.size() == 2);
    CHECK(copied.result.damaged[0].start == Sectors(12));
    CHECK(copied.result.damaged[0].length == Sectors(3));
    CHECK(copied.result.damaged[0].offset == Bytes(1024));
    CHECK(copied.result.damaged[0].reason == reason);
    CHECK(copied.result.damaged[1].start == Sectors(16));
}

TEST_CASE("damage that is found becomes unreadable runs") {
    const MixedDisk disk(compressed_grain(0, numbered(0, 8)));
    SilentProgress progress;
    const BlockMap found = with_damage(disk.map, find_damage(disk.map, progress));
    const std::string reason =
        "'/stream': the compressed grain at byte 1024 is for sector 0 of the extent, expected 8";
    CHECK(test::show(found) == concat("0+4 data /plain@4\n"
                                      "4+8 compressed /stream@1 depth 1\n"
                                      "12+3 unreadable depth 1: ",
                                      reason,
                                      "\n"
                                      "15+1 data /plain@0\n"
                                      "16+4 unreadable depth 1: ",
                                      reason,
                                      "\n"
                                      "20+4 zero depth 1\n"
                                      "24+3 data /plain@1\n"));
    CHECK(found.reasons().front().kind == Reason::Kind::damage);
}

TEST_CASE("a disk without damage has none") {
    const MixedDisk disk;
    SilentProgress progress;
    CHECK(find_damage(disk.map, progress).empty());
    CHECK(test::show(with_damage(disk.map, {})) == test::show(disk.map));
}

TEST_CASE("an unreadable run is refused, or zeros") {
    BlockMap::Builder builder;
    builder.append(Sectors(2), Zero{});
    builder.append(Sectors(1), Unreadable{0, builder.add_reason({Reason::Kind::intended, "NOACCESS"})});
    const BlockMap map = std::move(builder).build();
    CHECK(failure_of([&] { copy(map); }) ==
          Failure{ErrorKind::refused,
                  "bytes 1024 to 1535 of the disk cannot be read: NOACCESS (see --allow-damaged)"});
    CopyOptions options;
    options.allow_damaged = true;
    const Copied copied = copy(map, options);
    CHECK(copied.bytes == std::string(1536, '\0'));
    REQUIRE(copied.result.damaged.size() == 1);
    CHECK(copied.result.damaged[0].reason == "NOACCESS");
}

TEST_CASE("holes and blocks of zeros stay holes") {
    const TempDir directory;
    const std::string path = directory.write_hole("source", 8 << 20);
    std::fstream source(path, std::ios::in | std::ios::out | std::ios::binary);
    source.seekp(4 << 20);
    source << numbered(0, 8) << std::string(1 << 20, '\0') << numbered(8, 8);
    source.close();

    BlockMap::Builder builder;
    builder.append(Sectors(16384), Stored{builder.add_file(open_local_file(path), 0), Sectors(0)});
    const BlockMap map = std::move(builder).build();
    SilentProgress progress;
    OutputFile output(directory.path("out"), to_bytes(map.capacity()), false, 0600);
    const CopyTarget target{output.fd(), output.path(), false};
    CopyOptions options;
    if (GENERATE(false, true)) options.hashes = {HashAlgorithm::sha256};
    const CopyResult result = copy_disk(map, &target, options, progress);
    output.publish(true);
    CHECK(result.copied + result.reflinked <= Bytes(1 << 21));
    CHECK(result.copied + result.reflinked + result.zero == Bytes(8 << 20));
    CHECK(read_file(directory.path("out")) == read_file(path));
    struct stat status = {};
    REQUIRE(::stat(directory.path("out").c_str(), &status) == 0);
    CHECK(status.st_blocks * 512 <= 2 << 20);
}

TEST_CASE("a disk of many chunks is copied and hashed in its order") {
    const TempDir directory;
    constexpr std::uint64_t sectors = 50000;
    const std::string bytes = numbered(0, sectors);
    const std::string path = directory.write("source", bytes);
    BlockMap::Builder builder;
    const FileIndex file = builder.add_file(open_local_file(path), 0);
    // Backwards in pieces of 100 sectors, with a gap of zeros after each tenth.
    std::string expected;
    for (std::uint64_t piece = sectors / 100; piece-- > 0;) {
        builder.append(Sectors(100), Stored{file, Sectors(piece * 100)});
        expected += bytes.substr(piece * 100 * 512, 100 * 512);
        if (piece % 10 != 0) continue;
        builder.append(Sectors(77), Zero{});
        expected += std::string(77 * 512, '\0');
    }
    const BlockMap map = std::move(builder).build();
    CHECK(copy(map).bytes == expected);
    CopyOptions options;
    options.hashes = {HashAlgorithm::sha256, HashAlgorithm::sha1, HashAlgorithm::md5};
    const Copied copied = copy(map, options);
    CHECK(copied.bytes == expected);
    CHECK(copied.result.hashes.front().hex == sha256(expected));
}

TEST_CASE("a file that has become shorter is an error") {
    const TempDir directory;
    const std::string path = directory.write("source", numbered(0, 100));
    BlockMap::Builder builder;
    builder.append(Sectors(100), Stored{builder.add_file(open_local_file(path), 0), Sectors(0)});
    const BlockMap map = std::move(builder).build();
    std::filesystem::resize_file(path, 51 * 512 + 100);
    const Failure failure = failure_of([&] { copy(map); });
    CHECK(failure.kind == ErrorKind::format);
    CHECK(failure.text == concat("'", path, "' ends at byte 26212, 24988 more bytes expected"));
}

class Impatient : public Progress {
  public:
    void update(Bytes, Bytes) override { throw Error(ErrorKind::system, "interrupted"); }
};

TEST_CASE("whoever watches the progress can stop the work") {
    const MixedDisk disk;
    Impatient progress;
    CopyOptions options;
    options.hashes = {HashAlgorithm::sha256};
    CHECK(failure_of([&] { copy_disk(disk.map, nullptr, options, progress); }) ==
          Failure{ErrorKind::system, "interrupted"});
}

TEST_CASE("a target that is full is an error") {
    const MixedDisk disk;
    const UniqueFd full(::open("/dev/full", O_RDWR));
    const CopyTarget target{full.get(), "/dev/full", true};
    SilentProgress progress;
    const Failure failure = failure_of([&] { copy_disk(disk.map, &target, {}, progress); });
    CHECK(failure.kind == ErrorKind::system);
    CHECK(failure.text.starts_with("cannot write '/dev/full' at byte "));
    CHECK(failure.text.ends_with(": No space left on device"));
}

}  // namespace
}  // namespace vmdkdm
