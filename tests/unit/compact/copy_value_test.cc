#include "compact/copy_value.h"

#include <catch2/catch.hpp>

#include "support/memory_files.h"

namespace vmdkdm {
namespace {

const std::string md5_of_nothing = "d41d8cd98f00b204e9800998ecf8427e";

// A disk of 100 sectors, all of "/a", which has as many.
struct Disk {
    test::MemoryFiles memory;
    FilePtr file = memory.add_hole("/a", Bytes(100 * 512));
    BlockMap map = [this] {
        BlockMap::Builder builder;
        builder.append(Sectors(100), Stored{builder.add_file(file, 0), Sectors(0)});
        return std::move(builder).build();
    }();
    CopyOptions options;

    Disk() {
        options.allow_damaged = true;
        options.hashes = {HashAlgorithm::md5};
    }
    std::string problem_of(const Encoder& value) const {
        try {
            Decoder from(value.bytes());
            decode_result(from, map, options);
            from.expect_end();
        } catch (const BadValue& error) {
            return error.what();
        }
        return "none";
    }
    // Numbers, with a reason after every fourth from `damage` on, and the hash at the end.
    std::string problem_of(std::initializer_list<std::uint64_t> sums,
                           std::initializer_list<std::initializer_list<std::uint64_t>> damage,
                           const std::string& hash = md5_of_nothing) const {
        Encoder value;
        for (const std::uint64_t number : sums) value.number(number);
        value.number(damage.size());
        for (const auto& range : damage) {
            for (const std::uint64_t number : range) value.number(number);
            value.text("torn");
        }
        value.number(1);
        value.text(hash);
        return problem_of(value);
    }
};

TEST_CASE("the result of a copy comes back as it was") {
    const Disk disk;
    CopyResult result;
    result.copied = Bytes(1024);
    result.zero = Bytes(512);
    result.damaged = {{Sectors(3), Sectors(2), disk.file, Bytes(512), "torn\033"},
                      {Sectors(5), Sectors(1), nullptr, Bytes(0), "gone"}};
    result.hashes = {{HashAlgorithm::md5, md5_of_nothing}};
    Encoder value;
    encode_result(value, result, disk.map);
    Decoder from(value.bytes());
    const CopyResult back = decode_result(from, disk.map, disk.options);
    from.expect_end();
    CHECK(back.copied == Bytes(1024));
    CHECK(back.zero == Bytes(512));
    REQUIRE(back.damaged.size() == 2);
    CHECK(back.damaged[0].start == Sectors(3));
    CHECK(back.damaged[0].file == disk.file);
    CHECK(back.damaged[0].offset == Bytes(512));
    CHECK(back.damaged[0].reason == "torn\033");
    CHECK(back.damaged[1].file == nullptr);
    CHECK(back.hashes.at(0).hex == md5_of_nothing);
}

TEST_CASE("a result that no copy can have is refused") {
    const Disk disk;
    CHECK(disk.problem_of({51200, 0, 0, 0}, {{0, 100, 0, 51200}}) == "none");
    CHECK(disk.problem_of({51201, 0, 0, 0}, {}) == "the size of what was copied is 51201, more than 51200");
    CHECK(disk.problem_of({51200, 0, 0, 1}, {}) == "the size of what was copied is 1, more than 0");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{101, 1, 0, 0}}) ==
          "the start of a damaged range is 101, more than 100");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{99, 2, 0, 0}}) ==
          "the length of a damaged range is 2, more than 1");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{0, 0, 0, 0}}) == "a damaged range is empty");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{0, 1, 2, 0}}) == "the file of a damaged range is 2, more than 1");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{0, 1, 0, 51201}}) ==
          "the place of a damaged grain is 51201, more than 51200");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{0, 1, 1, 1}}) == "the place of a damaged grain is 1, more than 0");
    CHECK(disk.problem_of({0, 0, 0, 0}, {{5, 2, 0, 0}, {6, 1, 0, 0}}) == "damaged ranges overlap");
    CHECK(disk.problem_of({0, 0, 0, 0}, {}, "d41d") == "a hash is none");
    CHECK(disk.problem_of({0, 0, 0, 0}, {}, std::string(32, 'G')) == "a hash is none");
    CHECK(disk.problem_of({0, 0, 0, 0}, {}, std::string(33, '0')) ==
          "the length of a text is 33, more than 32");
}

TEST_CASE("damage that was not allowed cannot come back as a result") {
    Disk disk;
    disk.options.allow_damaged = false;
    CHECK(disk.problem_of({0, 0, 0, 0}, {{0, 1, 0, 0}}) == "damage that ought to have been refused");
}

TEST_CASE("hashes that are missing or too many are refused") {
    Disk disk;
    disk.options.hashes = {};
    CHECK(disk.problem_of({0, 0, 0, 0}, {}) == "hashes are missing");
}

}  // namespace
}  // namespace vmdkdm
