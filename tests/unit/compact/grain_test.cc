#include "compact/grain.h"

#include <catch2/catch.hpp>

#include "support/grains.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Blob;
using test::compressed_grain;
using test::MemoryFiles;
using test::numbered;

constexpr Sectors grain_size{8};

// A file with one grain, at sector 2, of an extent that begins at sector 100 of the disk and has 20 sectors.
struct OneGrain {
    MemoryFiles files;
    MappedFile file;
    explicit OneGrain(const std::string& grain) {
        file = {files.add("/a", std::string(1024, 'x') + grain), 0,
                GrainLayout{Sectors(100), Sectors(20), grain_size}};
    }
    std::string inflate(std::uint64_t origin) {
        GrainInflater inflater;
        const GrainInflater::Result result = inflater.inflate(file, Sectors(2), Sectors(origin), {});
        if (!result.problem.empty()) return result.problem;
        return {reinterpret_cast<const char*>(result.bytes.data()), result.bytes.size()};
    }
};

std::string problem(const std::string& what) { return "'/a': the compressed grain at byte 1024 " + what; }

std::string header(std::uint64_t sector, std::uint64_t size, const std::string& data) {
    return Blob(0).put64(0, sector).put32(8, size).append(data).bytes();
}

TEST_CASE("a grain inflates to its sectors") {
    CHECK(OneGrain(compressed_grain(8, numbered(0, 8))).inflate(108) == numbered(0, 8));
}

TEST_CASE("the last grain may hold no more than the extent does") {
    CHECK(OneGrain(compressed_grain(16, numbered(0, 4))).inflate(116) == numbered(0, 4));
    CHECK(OneGrain(compressed_grain(16, numbered(0, 8))).inflate(116) == numbered(0, 8));
}

TEST_CASE("a grain that is too short or too long is damaged") {
    CHECK(OneGrain(compressed_grain(8, numbered(0, 4))).inflate(108) ==
          problem("inflates to 2048 bytes, expected 4096"));
    CHECK(OneGrain(compressed_grain(16, numbered(0, 3))).inflate(116) ==
          problem("inflates to 1536 bytes, expected 4096"));
    CHECK(OneGrain(compressed_grain(8, std::string(4097, 'x'))).inflate(108) ==
          problem("inflates to more than a grain of 4096 bytes"));
}

TEST_CASE("a bomb is cut off at the size of a grain") {
    const std::string bomb = test::zlib_stream(std::string(4 << 20, '\0'));
    REQUIRE(bomb.size() < 8192);
    CHECK(OneGrain(header(8, bomb.size(), bomb)).inflate(108) ==
          problem("inflates to more than a grain of 4096 bytes"));
}

TEST_CASE("a grain that stands elsewhere than its header says is damaged") {
    CHECK(OneGrain(compressed_grain(0, numbered(0, 8))).inflate(108) ==
          problem("is for sector 0 of the extent, expected 8"));
}

TEST_CASE("a damaged stream is damage, whatever is wrong with it") {
    std::string grain = compressed_grain(8, numbered(0, 8));
    grain[12] = 0;
    CHECK(OneGrain(grain).inflate(108) == problem("does not inflate"));
    const std::string stream = test::zlib_stream(numbered(0, 8));
    CHECK(OneGrain(header(8, stream.size() / 2, stream)).inflate(108) == problem("does not inflate"));
    std::string wrong_sum = stream;
    wrong_sum.back() = static_cast<char>(wrong_sum.back() + 1);
    CHECK(OneGrain(header(8, stream.size(), wrong_sum)).inflate(108) == problem("does not inflate"));
}

TEST_CASE("bytes after the stream are passed over") {
    const std::string stream = test::zlib_stream(numbered(0, 8)) + "after it";
    CHECK(OneGrain(header(8, stream.size(), stream)).inflate(108) == numbered(0, 8));
}

TEST_CASE("an impossible size is damage, and nothing beyond the file is read") {
    CHECK(OneGrain(header(8, 0, "x")).inflate(108) ==
          problem("has an impossible compressed size of 0 bytes"));
    CHECK(OneGrain(header(8, 8193, std::string(9000, 'x'))).inflate(108) ==
          problem("has an impossible compressed size of 8193 bytes"));
    CHECK(OneGrain(header(8, 100, "x")).inflate(108) == problem("ends beyond the end of the file"));
    CHECK(OneGrain("short").inflate(108) == problem("lies beyond the end of the file"));
}

TEST_CASE("a grain goes straight to where it is wanted when there is room") {
    const OneGrain one(compressed_grain(8, numbered(0, 8)));
    std::vector<std::byte> place(4096);
    GrainInflater inflater;
    CHECK(inflater.inflate(one.file, Sectors(2), Sectors(108), place).bytes.data() == place.data());
    CHECK(inflater.inflate(one.file, Sectors(2), Sectors(108), std::span(place).first(512)).bytes.data() !=
          place.data());
}

}  // namespace
}  // namespace vmdkdm
