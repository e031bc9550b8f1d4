#include "vmdk/grain_tables.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <random>

#include "base/concat.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/show_map.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFile;
using test::show;

FilePtr hole(std::uint64_t bytes) {
    return std::make_shared<MemoryFile>("/a", FileIdentity{1, 1}, "", Bytes(bytes));
}

// Counts the calls and the bytes, and tells for each byte where it is.
class CountingFile : public File {
  public:
    explicit CountingFile(std::uint64_t size) : size_(size) {}
    const std::string& path() const override { return path_; }
    FileKind kind() const override { return FileKind::regular; }
    FileIdentity identity() const override { return {1, 1}; }
    Bytes size() const override { return size_; }
    int fd() const override { return -1; }
    Stretch stored_from(Bytes offset) const override {
        ++questions;
        for (const Stretch& stretch : stored)
            if (stretch.end > offset) return {std::max(stretch.start, offset), stretch.end};
        if (stored.empty()) return {std::min(offset, size_), size_};
        return {size_, size_};
    }
    void read_at(Bytes offset, std::span<std::byte> out) const override {
        ++calls;
        bytes += out.size();
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = byte_at(offset.count() + i);
    }
    static std::byte byte_at(std::uint64_t offset) {
        return static_cast<std::byte>(offset * 0x9e3779b97f4a7c15 >> 56);
    }
    std::vector<Stretch> stored;  // what lies elsewhere is a hole; none: all is stored
    mutable std::size_t questions = 0;
    mutable std::size_t calls = 0;
    mutable std::uint64_t bytes = 0;

  private:
    std::string path_ = "/a";
    Bytes size_;
};

// Whether every table came in order with its own bytes; `absent` tables without.
bool come_right(const CountingFile& file, const std::vector<TableOffset>& tables, std::size_t table_bytes,
                const std::vector<bool>& absent) {
    std::size_t expected = 0;
    bool right = true;
    read_tables(file, tables, table_bytes, [&](std::size_t index, const ReadTable& table) {
        const std::span<const std::byte> bytes = table.bytes;
        right = right && index == expected++ && bytes.size() == (absent[index] ? 0 : table_bytes) &&
                table.kind == (absent[index] ? ReadTable::Kind::unreadable : ReadTable::Kind::read);
        for (std::size_t i = 0; i < bytes.size(); ++i)
            right = right && bytes[i] == CountingFile::byte_at(*tables[index] + i);
    });
    return right && expected == tables.size();
}

TEST_CASE("tables that follow each other are read a megabyte at a time") {
    const CountingFile file(64 << 20);
    std::vector<TableOffset> tables;
    for (std::uint64_t i = 0; i < 2000; ++i) tables.push_back(4096 + i * 2048);
    CHECK(come_right(file, tables, 2048, std::vector<bool>(2000)));
    CHECK(file.calls == 4);
    CHECK(file.bytes == 2000 * 2048);
}

TEST_CASE("tables in any order come right, and those near each other with few calls") {
    const CountingFile file(64 << 20);
    std::vector<TableOffset> tables;
    for (std::uint64_t i = 0; i < 2000; ++i) tables.push_back(4096 + i * 2048);
    std::mt19937 random(1);
    std::shuffle(tables.begin(), tables.end(), random);
    CHECK(come_right(file, tables, 2048, std::vector<bool>(2000)));
    CHECK(file.calls <= 16);
}

TEST_CASE("tables far from each other are read by themselves, not with what lies between") {
    const CountingFile file(std::uint64_t{1} << 40);
    std::vector<TableOffset> tables;
    for (std::uint64_t i = 0; i < 50; ++i) tables.push_back((50 - i) << 30);
    CHECK(come_right(file, tables, 2048, std::vector<bool>(50)));
    CHECK(file.calls == 50);
    CHECK(file.bytes == 50 * 2048);
}

TEST_CASE("tables of every size come right, whichever are not there") {
    std::mt19937 random(2);
    for (const std::size_t table_bytes : {4U, 28U, 2048U, 16384U, 32768U, 262144U}) {
        const CountingFile file(1000 * table_bytes);
        std::vector<TableOffset> tables;
        for (std::uint64_t i = 0; i < 300; ++i) tables.push_back((3 * i + random() % 2) * table_bytes);
        std::shuffle(tables.begin(), tables.end(), random);
        std::vector<bool> absent(tables.size());
        for (std::size_t i = 0; i < tables.size(); ++i) {
            absent[i] = random() % 4 == 0;
            if (absent[i] && random() % 2 == 0) tables[i] = TableOffset();
            if (absent[i] && tables[i]) *tables[i] += 1000 * table_bytes;  // beyond the file
        }
        CHECK(come_right(file, tables, table_bytes, absent));
    }
}

TEST_CASE("tables that share bytes are none, those beside them are") {
    const CountingFile file(1 << 20);
    const std::vector<TableOffset> tables = {0, 100, 5000, 5000, 10000, 12048, 20000, 20001, 22048};
    CHECK(come_right(file, tables, 2048, {true, true, true, true, false, false, true, true, true}));
}

TEST_CASE("of tables in holes nothing is read, however many there are") {
    // 16 GiB of tables, of which 64 KiB in the first and the last are stored.
    constexpr std::size_t table_bytes = 256 << 10;
    CountingFile file(std::uint64_t{16} << 30);
    file.stored = {{Bytes(4096), Bytes(4096 + 65536)}, {file.size() - Bytes(65536), file.size()}};
    std::vector<TableOffset> tables;
    for (std::uint64_t i = 0; i < 65536; ++i) tables.push_back(i * table_bytes);
    std::vector<std::size_t> read;
    std::size_t empty = 0;
    bool right = true;
    read_tables(file, tables, table_bytes, [&](std::size_t index, const ReadTable& table) {
        if (table.kind == ReadTable::Kind::zeros) ++empty;
        if (table.kind != ReadTable::Kind::read) return;
        read.push_back(index);
        for (std::size_t i = 0; i < table.bytes.size(); ++i) {
            const std::uint64_t place = *tables[index] + i;
            const bool is_stored =
                std::any_of(file.stored.begin(), file.stored.end(), [place](const File::Stretch& stretch) {
                    return place >= stretch.start.count() && place < stretch.end.count();
                });
            right = right && table.bytes[i] == (is_stored ? CountingFile::byte_at(place) : std::byte{0});
        }
    });
    CHECK(right);
    CHECK(read == std::vector<std::size_t>{0, 65535});
    CHECK(empty == 65534);
    CHECK(file.bytes == 2 * 65536);
    CHECK(file.questions <= 16);
    CHECK(hashes_of_tables(file, std::vector<TableOffset>{table_bytes, 2 * table_bytes, std::nullopt},
                           table_bytes) == [] {
        const std::string zeros(table_bytes, '\0');
        const std::size_t hash = std::hash<std::string_view>()(zeros);
        return std::vector<std::size_t>{hash, hash, 0};
    }());
}

TEST_CASE("what lies between tables is read in proportion to the tables, however often they go over it") {
    // Each batch goes over the same stretches again.
    const CountingFile file(64 << 20);
    std::vector<TableOffset> tables;
    for (std::uint64_t i = 0; i < 16; ++i)
        for (std::uint64_t each = 0; each < 512; ++each) tables.push_back((each * 16 + i) * 4096);
    CHECK(come_right(file, tables, 2048, std::vector<bool>(tables.size())));
    CHECK(file.bytes <= 5 * tables.size() * 2048 + (5 << 20));
}

TEST_CASE("a table may end with the file, but not beyond") {
    const CountingFile file(4096);
    CHECK(come_right(file, {2048}, 2048, {false}));
    CHECK(come_right(file, {2049}, 2048, {true}));
    CHECK(come_right(file, {~std::uint64_t{0}}, 2048, {true}));
    CHECK(come_right(file, {4096}, 2048, {true}));
    CHECK(come_right(file, {}, 2048, {}));
}

TEST_CASE("what lies inside a file is told without overflow") {
    const FilePtr file = hole(4096);
    CHECK(lies_inside(*file, Sectors(0), Bytes(4096)));
    CHECK(lies_inside(*file, Sectors(8), Bytes(0)));
    CHECK_FALSE(lies_inside(*file, Sectors(8), Bytes(1)));
    CHECK_FALSE(lies_inside(*file, Sectors(9), Bytes(0)));
    CHECK_FALSE(lies_inside(*file, Sectors(1), Bytes(~std::uint64_t{0})));
    CHECK_FALSE(lies_inside(*file, Sectors(~std::uint64_t{0}), Bytes(1)));
}

TEST_CASE("the directory of 64 TiB in the smallest tables is the largest that is read") {
    const FilePtr file = hole(0);
    CHECK_NOTHROW(check_directory_length(*file, 1 << 22));
    CHECK(
        failure_of([&] { check_directory_length(*file, (1 << 22) + 1); }) ==
        Failure{ErrorKind::format, "'/a': a grain directory of 4194305 entries (at most 4194304 are read)"});
}

struct Runs {
    Layer::Builder layer;
    GrainRuns runs;
    explicit Runs(std::uint64_t size, std::uint64_t file_sectors = 1000)
        : runs(layer, {hole(file_sectors * 512), 2, Sectors(size), Sectors(16), Sectors(32), true}) {}
    std::string show() {
        runs.finish();
        return test::show(std::move(layer).build());
    }
};

TEST_CASE("grains become runs of their layer, cut at the end of the extent") {
    Runs r(100);
    r.runs.stored(100, 2);
    r.runs.stored(132, 1);
    r.runs.unallocated(1);
    r.runs.zero(1);
    r.runs.compressed(900);
    r.runs.unallocated(1000000);
    r.runs.stored(100, 2);
    r.runs.zero(1);
    CHECK(r.show() ==
          "0+48 data /a@100 depth 2\n48+16 unallocated\n64+16 zero depth 2\n80+16 compressed /a@900 depth 2\n"
          "96+4 unallocated\n");
}

TEST_CASE("a stretch may begin in the metadata and end beyond the file") {
    Runs r(96, 80);
    r.runs.stored(10, 6);
    CHECK(r.show() ==
          "0+32 unreadable depth 2: '/a': a grain lies inside the metadata\n32+38 data /a@42 depth 2\n"
          "70+26 unreadable depth 2: '/a': a grain lies beyond the end of the file\n");
}

TEST_CASE("tables that end before the extent does are an error") {
    Runs r(100);
    r.runs.zero(3);
    CHECK(failure_of([&] { r.runs.finish(); }) ==
          Failure{ErrorKind::format, "'/a': its tables end 52 sectors before the extent does"});
}

TEST_CASE("grains that share sectors are seen, also where stretches overlap") {
    Runs apart(1000);
    apart.runs.stored(32, 4);
    apart.runs.stored(96, 4);
    CHECK_FALSE(apart.runs.overlapping());
    apart.runs.stored(80, 1);
    CHECK(apart.runs.overlapping());
}

TEST_CASE("what a stretch says of grains behind the end of the extent shares nothing") {
    Runs r(100);
    r.runs.stored(800, 1);
    r.runs.stored(64, 60);  // six of them are in the extent
    CHECK_FALSE(r.runs.overlapping());
    CHECK(r.show() == "0+16 data /a@800 depth 2\n16+84 data /a@64 depth 2\n");
}

TEST_CASE("long stretches that meet do not share sectors, and those that share one grain do") {
    constexpr std::uint64_t grain = 16;
    for (const std::uint64_t length : {1U, 63U, 64U, 65U, 127U, 128U, 129U, 200U})
        for (const std::uint64_t first : {2U, 63U, 64U, 65U, 127U, 130U}) {
            Runs r(1000 * grain, 1000 * grain);
            r.runs.stored(first * grain, length);
            r.runs.stored((first + length) * grain, length);
            CHECK_FALSE(r.runs.overlapping());
            r.runs.stored((first + 2 * length - 1) * grain, 70);
            CHECK(r.runs.overlapping());
        }
}

}  // namespace
}  // namespace vmdkdm
