#include "reader/map_value.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "support/memory_files.h"

namespace vmdkdm {
namespace {

constexpr std::uint64_t stored = 0, zero = 1, compressed = 2, unreadable = 3;

// A value as the tests write it, number by number. It lists two files, "/a" of 100 sectors and "/b" of 50
// sectors and a half with grains of 16, and one reason.
struct Value {
    test::MemoryFiles memory;
    std::vector<FilePtr> files = {memory.add_hole("/a", Bytes(100 * 512)),
                                  memory.add_hole("/b", Bytes(50 * 512 + 256))};
    Encoder bytes;

    void put(std::initializer_list<std::uint64_t> numbers) {
        for (const std::uint64_t number : numbers) bytes.number(number);
    }
    void put_files_and_reason() {
        put({2, 0, 0, 0, 1, 1, 1, 0, 50, 16});
        put({1, 2});
        bytes.text("why");
    }
    void put_run(std::uint64_t kind, std::uint64_t length, std::uint64_t sector, std::uint64_t where,
                 std::uint64_t other) {
        put({kind << 56 | length, sector, other << 32 | where});
    }
    BlockMap decode() const {
        Decoder from(bytes.bytes());
        BlockMap map = decode_map(from, files, 2);
        from.expect_end();
        return map;
    }
};

// Of a map that is this one run.
std::string problem_of(std::uint64_t kind, std::uint64_t length, std::uint64_t sector, std::uint64_t where,
                       std::uint64_t other) {
    Value value;
    value.put_files_and_reason();
    value.put({1});
    value.put_run(kind, length, sector, where, other);
    try {
        value.decode();
    } catch (const BadValue& error) {
        return error.what();
    }
    return "none";
}

std::string problem_of_numbers(std::initializer_list<std::uint64_t> numbers) {
    Value value;
    value.put(numbers);
    try {
        value.decode();
    } catch (const BadValue& error) {
        return error.what();
    }
    return "none";
}

TEST_CASE("runs that lie in their files are taken") {
    CHECK(problem_of(stored, 100, 0, 0, 0) == "none");
    CHECK(problem_of(stored, 1, 99, 0, 0) == "none");
    CHECK(problem_of(zero, 1, 0, 1, 0) == "none");
    CHECK(problem_of(compressed, 16, 49, 1, 0) == "none");
    CHECK(problem_of(compressed, 1, 50, 1, 0) == "none");  // in half a sector
    CHECK(problem_of(compressed, 1, 0, 1, 15) == "none");
    CHECK(problem_of(unreadable, 1, 0, 1, 0) == "none");
    CHECK(problem_of(zero, max_capacity.count(), 0, 0, 0) == "none");
}

TEST_CASE("every run is held against its file") {
    const std::string behind = "a run goes on behind the end of its file";
    CHECK(problem_of(stored, 101, 0, 0, 0) == behind);
    CHECK(problem_of(stored, 1, 100, 0, 0) == behind);
    CHECK(problem_of(stored, 1, ~std::uint64_t{0}, 0, 0) == behind);
    CHECK(problem_of(stored, 51, 0, 1, 0) == behind);
    CHECK(problem_of(compressed, 1, 51, 1, 0) == "a grain lies behind the end of its file");
    CHECK(problem_of(compressed, 17, 0, 1, 0) == "a run goes on behind the end of its grain");
    CHECK(problem_of(compressed, 1, 0, 1, 16) == "a run goes on behind the end of its grain");
    CHECK(problem_of(compressed, 2, 0, 1, 15) == "a run goes on behind the end of its grain");
    // A file without grains has none that could be compressed.
    CHECK(problem_of(compressed, 1, 0, 0, 0) == "a run goes on behind the end of its grain");
}

TEST_CASE("what a run refers to must be there") {
    CHECK(problem_of(stored, 1, 0, 2, 0) == "a run lies in a file that the map has not");
    CHECK(problem_of(compressed, 1, 0, 0xffffffff, 0) == "a run lies in a file that the map has not");
    CHECK(problem_of(zero, 1, 0, 2, 0) == "a run is of a layer that there is not");
    CHECK(problem_of(unreadable, 1, 0, 2, 0) == "a run is of a layer that there is not");
    CHECK(problem_of(unreadable, 1, 0, 0, 1) == "a run has a reason that there is not");
    CHECK(problem_of(4, 1, 0, 0, 0) == "there is no such kind of run");
    CHECK(problem_of(255, 1, 0, 0, 0) == "there is no such kind of run");
}

TEST_CASE("a disk has no empty runs, and ends where a disk can end") {
    const std::string empty = "a run is empty, or goes on behind the end of any disk";
    CHECK(problem_of(zero, 0, 0, 0, 0) == empty);
    CHECK(problem_of(zero, max_capacity.count() + 1, 0, 0, 0) == empty);
    Value value;
    value.put_files_and_reason();
    value.put({2});
    value.put_run(zero, max_capacity.count(), 0, 0, 0);
    value.put_run(unreadable, 1, 0, 0, 0);
    CHECK_THROWS_WITH(value.decode(), empty);
}

TEST_CASE("files are those that were opened, each once for a layer") {
    CHECK(problem_of_numbers({1, 2, 0, 0, 0, 0}) == "a file of the map was not opened");
    CHECK(problem_of_numbers({1, 0, 2, 0, 0, 0}) == "the layer of a file is 2, more than 1");
    CHECK(problem_of_numbers({2, 0, 0, 0, 0, 0, 0, 0, 0}) == "a file of the map is listed twice");
    CHECK(problem_of_numbers({1, 0, 0, 1, 0, 50, 0, 0}) == "a grain has no sectors");
    CHECK(problem_of_numbers({1, 0, 0, 1, 0, 50, 65537, 0}) ==
          "the size of a grain is 65537, more than 65536");
    CHECK(problem_of_numbers({1, 0, 0, 2, 0, 50, 16, 0}) == "a flag is 2, more than 1");
    CHECK(problem_of_numbers({0, 1, 3, 0}) == "the kind of a reason is 3, more than 2");
}

TEST_CASE("a count of more than is there takes no memory") {
    CHECK(problem_of_numbers({~std::uint64_t{0}}) ==
          "the number of files of the map is 18446744073709551615, more than 0");
    CHECK(problem_of_numbers({0, ~std::uint64_t{0}}) ==
          "the number of reasons is 18446744073709551615, more than 0");
    CHECK(problem_of_numbers({0, 0, std::uint64_t{1} << 40}) ==
          "the number of runs is 1099511627776, more than 0");
    CHECK(problem_of_numbers({0, 0}) == "it ends too early");
}

TEST_CASE("reasons that look the same stay apart") {
    Value value;
    value.put({0, 2, 2});
    value.bytes.text("cut");
    value.put({2});
    value.bytes.text("cut");
    value.put({0});
    const BlockMap map = value.decode();
    REQUIRE(map.reasons().size() == 2);
    CHECK(map.reasons()[0].text == "cut");
    CHECK(map.reasons()[1].text == "cut?1");
}

// A search that began at the first for each would take minutes.
TEST_CASE("many reasons that are the same cost no more than others") {
    constexpr std::uint64_t count = 50'000;
    Value value;
    value.put({0, count});
    for (std::uint64_t i = 0; i < count; ++i) {
        value.put({2});
        value.bytes.text("why");
    }
    value.put({0});
    CHECK(value.decode().reasons().size() == count);
}

BlockMap map_of(const Value& value) {
    BlockMap::Builder map;
    map.add_file(value.files[0], 0);
    map.add_file(value.files[1], 1, GrainLayout{Sectors(0), Sectors(50), Sectors(16)});
    map.add_reason({Reason::Kind::damage, "why"});
    map.append(Sectors(10), Stored{0, Sectors(20)});
    map.append(Sectors(5), Zero{1});
    map.append(Sectors(16), Compressed{1, 0, Sectors(7)});
    map.append(Sectors(8), Compressed{1, 8, Sectors(9)});
    map.append(Sectors(3), Unreadable{1, 0});
    map.append(Sectors(10), Stored{0, Sectors(90)});
    return std::move(map).build();
}

Encoder encoded(const Value& value) {
    Encoder bytes;
    encode_map(bytes, map_of(value),
               [&](const File& file) { return file.identity() == value.files[0]->identity() ? 0U : 1U; });
    return bytes;
}

TEST_CASE("a map comes back as it was") {
    const Value value;
    const Encoder bytes = encoded(value);
    Decoder from(bytes.bytes());
    const BlockMap expected = map_of(value);
    const BlockMap map = decode_map(from, value.files, 2);
    from.expect_end();
    CHECK(std::vector(map.begin(), map.end()) == std::vector(expected.begin(), expected.end()));
    CHECK(map.reasons() == expected.reasons());
    REQUIRE(map.files().size() == 2);
    CHECK(map.files()[0].file == value.files[0]);
    CHECK(map.files()[1].depth == 1);
    CHECK(map.files()[1].grains->grain_size == Sectors(16));
}

// Every number of a value replaced by every odd one: what is then taken must still be a disk of these files.
TEST_CASE("no number in a map can make it one that is wrong") {
    const Value value;
    const Encoder good = encoded(value);
    std::size_t taken = 0, refused = 0;
    for (std::size_t at = 0; at + 8 <= good.bytes().size(); at += 8)
        for (const std::uint64_t odd :
             {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{16}, std::uint64_t{100},
              std::uint64_t{1} << 32, std::uint64_t{1} << 56, std::uint64_t{2} << 56 | 16,
              std::uint64_t{3} << 56 | 1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
            std::vector<std::byte> bytes(good.bytes().begin(), good.bytes().end());
            std::memcpy(bytes.data() + at, &odd, sizeof odd);
            Decoder from(bytes);
            try {
                const BlockMap map = decode_map(from, value.files, 2);
                ++taken;
                Sectors position;
                for (const Run& run : map) {
                    CHECK(run.start == position);
                    position += run.length;
                    if (const auto* in_file = std::get_if<Stored>(&run.content))
                        CHECK(to_bytes(in_file->sector + run.length) <=
                              map.files().at(in_file->file).file->size());
                    if (const auto* grain = std::get_if<Compressed>(&run.content))
                        CHECK(to_bytes(grain->sector) < map.files().at(grain->file).file->size());
                    CHECK(vmdkdm::depth_of(map, run.content) < 2);
                }
                CHECK(position == map.capacity());
            } catch (const BadValue&) {
                ++refused;
            }
        }
    CHECK(taken > 20);
    CHECK(refused > 100);
}

TEST_CASE("a value that is cut short anywhere is refused") {
    const Value value;
    const Encoder good = encoded(value);
    for (std::size_t size = 0; size < good.bytes().size(); ++size) {
        Decoder from(good.bytes().first(size));
        CHECK_THROWS_AS(decode_map(from, value.files, 2), BadValue);
    }
}

}  // namespace
}  // namespace vmdkdm
