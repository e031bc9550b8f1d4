#include "map/block_map.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

#include "map/read.h"
#include "support/failure.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;

std::vector<Run> runs_of(const BlockMap& map) { return {map.begin(), map.end()}; }

std::string read_text(const BlockMap& map, Bytes offset, std::size_t size) {
    std::string text(size, '?');
    read_disk(map, offset, std::as_writable_bytes(std::span(text)));
    return text;
}

TEST_CASE("stored runs that go on in the same file become one") {
    MemoryFiles files;
    BlockMap::Builder builder;
    const FileIndex file = builder.add_file(files.add_hole("/a", Bytes(1 << 20)), 0);
    builder.append(Sectors(8), Stored{file, Sectors(100)});
    builder.append(Sectors(8), Stored{file, Sectors(108)});
    builder.append(Sectors(4), Stored{file, Sectors(116)});
    builder.append(Sectors(4), Stored{file, Sectors(100)});
    const BlockMap map = std::move(builder).build();
    CHECK(runs_of(map) == std::vector<Run>{{Sectors(0), Sectors(20), Stored{file, Sectors(100)}},
                                           {Sectors(20), Sectors(4), Stored{file, Sectors(100)}}});
    CHECK(map.capacity() == Sectors(24));
}

TEST_CASE("a run goes on only in the same file at the same depth") {
    MemoryFiles files;
    const FilePtr a = files.add_hole("/a", Bytes(1 << 20));
    BlockMap::Builder builder;
    const FileIndex child = builder.add_file(a, 0);
    const FileIndex parent = builder.add_file(a, 1);
    const FileIndex other = builder.add_file(files.add_hole("/b", Bytes(1 << 20)), 0);
    builder.append(Sectors(8), Stored{child, Sectors(0)});
    builder.append(Sectors(8), Stored{parent, Sectors(8)});
    builder.append(Sectors(8), Stored{other, Sectors(16)});
    const BlockMap map = std::move(builder).build();
    CHECK(map.size() == 3);
    CHECK(depth_of(map, map[0].content) == 0);
    CHECK(depth_of(map, map[1].content) == 1);
}

TEST_CASE("zeros merge with zeros of the same layer, unreadable runs with those of the same reason") {
    BlockMap::Builder builder;
    const std::uint32_t hidden = builder.add_reason({Reason::Kind::damage, "hidden"});
    const std::uint32_t short_file = builder.add_reason({Reason::Kind::damage, "short"});
    builder.append(Sectors(1), Zero{0});
    builder.append(Sectors(2), Zero{0});
    builder.append(Sectors(3), Zero{1});
    builder.append(Sectors(1), Unreadable{0, hidden});
    builder.append(Sectors(1), Unreadable{0, hidden});
    builder.append(Sectors(1), Unreadable{0, short_file});
    const BlockMap map = std::move(builder).build();
    CHECK(runs_of(map) == std::vector<Run>{{Sectors(0), Sectors(3), Zero{0}},
                                           {Sectors(3), Sectors(3), Zero{1}},
                                           {Sectors(6), Sectors(2), Unreadable{0, hidden}},
                                           {Sectors(8), Sectors(1), Unreadable{0, short_file}}});
    CHECK(depth_of(map, map[1].content) == 1);
}

TEST_CASE("compressed grains never merge") {
    MemoryFiles files;
    BlockMap::Builder builder;
    const FileIndex file = builder.add_file(files.add_hole("/a", Bytes(1 << 20)), 0);
    const Compressed grain{file, 100, Sectors(5)};
    builder.append(Sectors(128), grain);
    builder.append(Sectors(128), grain);
    const BlockMap map = std::move(builder).build();
    CHECK(map.size() == 2);
}

TEST_CASE("a length of 0 appends nothing") {
    BlockMap::Builder builder;
    builder.append(Sectors(0), Zero{0});
    CHECK(builder.length() == Sectors(0));
    const BlockMap map = std::move(builder).build();
    CHECK(map.size() == 0);
    CHECK(map.capacity() == Sectors(0));
    CHECK(runs_of(map).empty());
}

// More than two blocks of runs, and the last one full, short of one and one over.
TEST_CASE("a map of many runs holds each, and finds it") {
    constexpr std::uint64_t block = 1 << 18;
    for (const std::uint64_t count : {block - 1, block, block + 1, 2 * block + 5}) {
        INFO(count << " runs");
        Layer::Builder builder;
        for (std::uint64_t i = 0; i < count; ++i)
            if (i % 2 == 0)
                builder.append(Sectors(3), Unreadable{static_cast<std::uint32_t>(i), 7});
            else
                builder.append(Sectors(1), Compressed{1, 2, Sectors(i)});
        const Layer layer = std::move(builder).build();
        REQUIRE(layer.size() == count);
        std::uint64_t wrong = 0;
        for (std::uint64_t i = 0; i < count; ++i) {
            const LayerContent expected = i % 2 == 0
                                              ? LayerContent(Unreadable{static_cast<std::uint32_t>(i), 7})
                                              : LayerContent(Compressed{1, 2, Sectors(i)});
            const Sectors start(2 * i + i % 2);
            if (layer[i] != BasicRun<LayerContent>{start, Sectors(i % 2 == 0 ? 3 : 1), expected} ||
                layer.index_of(start) != i)
                ++wrong;
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("zeros that a sole layer leaves unwritten become one run, over blocks of runs too") {
    constexpr std::uint64_t count = (1 << 18) + 3;
    Layer::Builder builder;
    const FileIndex file = builder.add_file(test::MemoryFiles().add_hole("/a", Bytes(512 * 8)), 0);
    builder.append(Sectors(1), Stored{file, Sectors(7)});
    for (std::uint64_t i = 0; i < count; ++i)
        if (i % 2 == 0)
            builder.append(Sectors(1), Zero{0});
        else
            builder.append(Sectors(1), Unallocated{});
    builder.append(Sectors(1), Stored{file, Sectors(3)});
    std::vector<Layer> layers;
    layers.push_back(std::move(builder).build());
    CHECK(runs_of(flatten(std::move(layers))) ==
          std::vector<Run>{{Sectors(0), Sectors(1), Stored{0, Sectors(7)}},
                           {Sectors(1), Sectors(count), Zero{0}},
                           {Sectors(count + 1), Sectors(1), Stored{0, Sectors(3)}}});
}

TEST_CASE("a place that no file can have is refused") {
    BlockMap::Builder builder;
    CHECK_THROWS_AS(builder.append(Sectors(1), Stored{0, Sectors(std::uint64_t{1} << 56)}), UnitOverflow);
}

TEST_CASE("a disk that grows past 64 bits throws and stays as it was") {
    BlockMap::Builder builder;
    builder.append(Sectors(std::numeric_limits<std::uint64_t>::max()), Zero{0});
    CHECK_THROWS_AS(builder.append(Sectors(1), Zero{0}), UnitOverflow);
    CHECK(std::move(builder).build().size() == 1);
}

TEST_CASE("every sector finds its run") {
    BlockMap::Builder builder;
    const std::uint32_t why = builder.add_reason({Reason::Kind::damage, "hidden"});
    builder.append(Sectors(1), Zero{0});
    builder.append(Sectors(10), Unreadable{0, why});
    builder.append(Sectors(5), Zero{0});
    const BlockMap map = std::move(builder).build();
    CHECK(map.index_of(Sectors(0)) == 0);
    CHECK(map.index_of(Sectors(1)) == 1);
    CHECK(map.index_of(Sectors(10)) == 1);
    CHECK(map.index_of(Sectors(11)) == 2);
    CHECK(map.index_of(Sectors(15)) == 2);
}

TEST_CASE("a file is listed once a layer, whatever object stands for it; a reason once") {
    MemoryFiles files;
    const FilePtr a = files.add_hole("/a", Bytes(512));
    const auto same_file = std::make_shared<test::MemoryFile>("/other-name", a->identity(), "", Bytes(512));
    BlockMap::Builder builder;
    CHECK(builder.add_file(a, 0) == 0);
    CHECK(builder.add_file(same_file, 0) == 0);
    CHECK(builder.add_file(a, 1) == 1);
    CHECK(builder.add_reason({Reason::Kind::damage, "x"}) == 0);
    CHECK(builder.add_reason({Reason::Kind::damage, "y"}) == 1);
    CHECK(builder.add_reason({Reason::Kind::damage, "x"}) == 0);
    const BlockMap map = std::move(builder).build();
    REQUIRE(map.files().size() == 2);
    CHECK(map.files()[0].file->path() == "/a");
    CHECK(map.reasons() == std::vector<Reason>{{Reason::Kind::damage, "x"}, {Reason::Kind::damage, "y"}});
}

TEST_CASE("bytes are read across runs, from the right place of each file") {
    MemoryFiles files;
    BlockMap::Builder builder;
    const FileIndex a = builder.add_file(files.add("/a", std::string(512, 'a') + std::string(1024, 'b')), 0);
    const FileIndex c = builder.add_file(files.add("/c", std::string(512, 'c')), 0);
    builder.append(Sectors(2), Stored{a, Sectors(1)});
    builder.append(Sectors(1), Zero{0});
    builder.append(Sectors(1), Stored{c, Sectors(0)});
    const BlockMap map = std::move(builder).build();
    CHECK(read_text(map, Bytes(0), 2048) ==
          std::string(1024, 'b') + std::string(512, '\0') + std::string(512, 'c'));
    CHECK(read_text(map, Bytes(1023), 2) == std::string("b\0", 2));
    CHECK(read_text(map, Bytes(1535), 2) == std::string("\0c", 2));
    CHECK(read_text(map, Bytes(2048), 0).empty());
}

TEST_CASE("what has no bytes to read is an error, not zeros") {
    MemoryFiles files;
    BlockMap::Builder builder;
    const FileIndex a = builder.add_file(files.add("/a", std::string(512, 'a')), 0);
    builder.append(Sectors(1), Stored{a, Sectors(0)});
    builder.append(Sectors(1), Unreadable{0, builder.add_reason({Reason::Kind::damage, "hidden"})});
    builder.append(Sectors(1), Compressed{a, 10, Sectors(0)});
    const BlockMap map = std::move(builder).build();
    CHECK(failure_of([&] { read_text(map, Bytes(511), 2); }) ==
          Failure{ErrorKind::format, "byte 512 of the disk cannot be read directly"});
    CHECK(failure_of([&] { read_text(map, Bytes(1024), 1); }) ==
          Failure{ErrorKind::format, "byte 1024 of the disk cannot be read directly"});
    CHECK(failure_of([&] { read_text(map, Bytes(1535), 2); }) ==
          Failure{ErrorKind::format, "the disk ends at byte 1536"});
}

}  // namespace
}  // namespace vmdkdm
