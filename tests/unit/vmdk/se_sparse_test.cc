#include "vmdk/se_sparse.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/concat.h"
#include "support/blob.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

using test::Blob;
using test::Failure;
using test::failure_of;
using test::MemoryFile;
using test::show;

constexpr std::size_t at_capacity = 16;
constexpr std::size_t at_volatile_header = 80;
constexpr std::size_t at_directory = 128;
constexpr std::size_t at_directory_size = 136;
constexpr std::size_t at_tables = 144;
constexpr std::size_t at_tables_size = 152;
constexpr std::size_t at_grains = 192;
constexpr std::size_t at_grains_size = 200;

constexpr std::uint64_t huge = std::uint64_t{1} << 63;
constexpr std::uint64_t table_exists = std::uint64_t{0x10000000} << 32;

std::uint64_t allocated(std::uint64_t number) {
    return std::uint64_t{3} << 60 | (number & 0xfff) << 48 | number >> 12;
}

// 40000 sectors, so two tables: volatile header in sector 1, directory in 2, tables number 0 and 1 in 3 to 66
// and 67 to 130, grains (numbers 0 to 6) in 131 to 186.
constexpr std::size_t directory = 2 * 512;
constexpr std::size_t table_0 = 3 * 512;
constexpr std::size_t table_1 = 67 * 512;
constexpr Sectors capacity(40000);

Blob extent() {
    Blob file(187);
    file.put64(0, 0xcafebabe).put64(8, 0x200000001).put64(at_capacity, 40000).put64(24, 8).put64(32, 64);
    file.put64(at_volatile_header, 1).put64(88, 1);
    file.put64(at_directory, 2).put64(at_directory_size, 1);
    file.put64(at_tables, 3).put64(at_tables_size, 128);
    file.put64(at_grains, 131).put64(at_grains_size, 56);
    file.put64(512, 0xcafecafe);
    file.put64(directory, table_exists).put64(directory + 8, table_exists | 1);
    return file;
}

FilePtr file_of(const Blob& blob, Bytes size) {
    return std::make_shared<MemoryFile>("/a", FileIdentity{1, 1}, blob.bytes(), size);
}

struct Read {
    std::string runs;
    std::vector<std::string> notes;
};

Read read(const FilePtr& file, Sectors size = capacity) {
    std::vector<std::string> notes;
    Layer::Builder layer;
    append_se_sparse_extent(layer, file, size, 0, notes);
    return {show(std::move(layer).build()), std::move(notes)};
}
Read read(const Blob& blob, Sectors size = capacity) { return read(file_of(blob, Bytes(blob.size())), size); }

std::string fault(const Blob& blob, Sectors size = capacity) {
    const Failure failure = failure_of([&] { read(blob, size); });
    CHECK(failure.kind == ErrorKind::format);
    return failure.text;
}

TEST_CASE("an seSparse extent's grains are found by their shuffled numbers") {
    Blob file = extent();
    file.put64(table_0, allocated(1)).put64(table_0 + 8, allocated(2)).put64(table_0 + 16, allocated(0));
    file.put64(table_1, allocated(6));
    CHECK(read(file).runs ==
          "0+16 data /a@139\n16+8 data /a@131\n24+32744 unallocated\n32768+8 data /a@179\n"
          "32776+7224 unallocated\n");
    CHECK(read(file).notes.empty());
}

TEST_CASE("the low 12 bits of a grain's number stand on top of the others") {
    struct Case {
        std::uint64_t entry;
        std::uint64_t number;
    };
    for (const Case& c :
         {Case{0x3000000000000000, 0}, Case{0x3001000000000000, 1}, Case{0x3fff000000000000, 4095},
          Case{0x3000000000000001, 4096}, Case{0x3001000000000001, 4097}}) {
        Blob file = extent();
        file.put64(at_grains_size, 1 << 20).put64(table_0, c.entry);
        CHECK(read(file_of(file, Bytes(64 << 20))).runs ==
              concat("0+8 data /a@", 131 + 8 * c.number, "\n8+39992 unallocated\n"));
    }
}

TEST_CASE("tables are numbered as they came into being, not as they lie on the disk") {
    Blob file = extent();
    file.put64(directory, table_exists | 1).put64(directory + 8, table_exists).put64(table_1, allocated(0));
    CHECK(read(file).runs == "0+8 data /a@131\n8+39992 unallocated\n");
}

TEST_CASE("grains that the guest unmapped and zero grains are zeros") {
    Blob file = extent();
    file.put64(table_0, std::uint64_t{1} << 60 | 2).put64(table_0 + 8, std::uint64_t{2} << 60);
    CHECK(read(file).runs == "0+16 zero\n16+39984 unallocated\n");
}

TEST_CASE("an seSparse extent without a table has nothing allocated there") {
    CHECK(read(extent().put64(directory, 0).put64(table_1, allocated(0))).runs ==
          "0+32768 unallocated\n32768+8 data /a@131\n32776+7224 unallocated\n");
}

TEST_CASE("an entry of unknown kind is damage") {
    for (std::uint64_t kind = 4; kind < 16; ++kind)
        CHECK(read(extent().put64(table_0, kind << 60)).runs ==
              "0+8 unreadable: '/a': a grain table entry is damaged\n8+39992 unallocated\n");
    CHECK(read(extent().put64(table_0, 5)).runs ==
          "0+8 unreadable: '/a': a grain table entry is damaged\n8+39992 unallocated\n");
}

TEST_CASE("a grain beyond the grains, or beyond the file, is damage") {
    const std::string beyond_grains =
        "0+8 unreadable: '/a': a grain lies beyond the grains of the file\n8+39992 unallocated\n";
    CHECK(read(extent().put64(table_0, allocated(7))).runs == beyond_grains);
    CHECK(read(extent().put64(table_0, 0x3fffffffffffffff)).runs == beyond_grains);
    for (const std::uint64_t entry : {allocated(7), std::uint64_t{0x3fffffffffffffff}})
        CHECK(read(extent().put64(table_0, entry).put64(at_grains_size, ~std::uint64_t{0})).runs ==
              "0+8 unreadable: '/a': a grain lies beyond the end of the file\n8+39992 unallocated\n");
}

TEST_CASE("a table beyond the tables, beyond the file or in another one's place is not read") {
    const std::string misplaced = concat("unreadable: '/a': ", misplaced_table, "\n");
    const std::string damaged = "unreadable: '/a': a grain directory entry is damaged\n";
    const std::string rest = "32768+7232 unallocated\n";
    CHECK(read(extent().put64(directory, table_exists | 2)).runs == concat("0+32768 ", damaged, rest));
    CHECK(read(extent().put64(directory, table_exists | 0xffffffff)).runs ==
          concat("0+32768 ", damaged, rest));
    CHECK(read(extent().put64(directory, 1)).runs == concat("0+32768 ", damaged, rest));
    CHECK(read(extent().put64(directory, table_exists << 1)).runs == concat("0+32768 ", damaged, rest));
    CHECK(read(extent().put64(directory, table_exists | 1)).runs == concat("0+40000 ", misplaced));
    CHECK(read(extent().put64(at_tables_size, huge).put64(directory, table_exists | 5)).runs ==
          concat("0+32768 ", misplaced, rest));
    for (const std::uint64_t place : {huge, ~std::uint64_t{0}, std::uint64_t{1} << 55})
        CHECK(read(extent().put64(at_tables, place)).runs == concat("0+40000 ", damaged));
}

TEST_CASE("an seSparse header that is not as known is refused, saying what is wrong") {
    struct Case {
        std::size_t offset;
        std::uint64_t value;
        const char* message;
    };
    static const Case cases[] = {
        {0, 0xcafebabf, "not an seSparse extent"},
        {0, 0x1cafebabe, "not an seSparse extent"},
        {8, 0x200000002, "seSparse extent of a version that is not known (expected 2.1)"},
        {24, 16, "seSparse extent with grains of 16 and tables of 64 sectors (expected 8 and 64)"},
        {24, 0, "seSparse extent with grains of 0 and tables of 64 sectors (expected 8 and 64)"},
        {32, 0, "seSparse extent with grains of 8 and tables of 0 sectors (expected 8 and 64)"},
        {40, 1, "seSparse extent with flags or fields that are not known"},
        {72, 1, "seSparse extent with flags or fields that are not known"},
        {504, huge, "seSparse extent with flags or fields that are not known"},
        {at_capacity, huge, "impossible capacity of 9223372036854775808 sectors"},
        {at_grains, huge, "its grains are said to begin at sector 9223372036854775808"},
        {at_volatile_header, 187, "the volatile header does not lie inside the file"},
        {at_volatile_header, huge, "the volatile header does not lie inside the file"},
        {at_volatile_header, 2, "the volatile header is damaged"},
        {at_directory, 0, "the grain directory does not lie inside the file"},
        {at_directory, 187, "the grain directory does not lie inside the file"},
        {at_directory, huge, "the grain directory does not lie inside the file"},
        {at_directory_size, 0, "the grain directory does not lie inside the file"},
        {512 + 24, 1,
         "its journal holds changes that are not in its tables yet (power the machine on and off, or "
         "consolidate its snapshots, on ESXi first)"},
        {512 + 32, 1, "the volatile header has fields that are not known"},
    };
    for (const Case& c : cases)
        CHECK(fault(extent().put64(c.offset, c.value)) == concat("'/a': ", c.message));
    CHECK(fault(extent().resize(511)) == "'/a': the file is shorter than an seSparse extent's header");
    CHECK(fault(extent(), Sectors(40001)) == "'/a' holds 40000 sectors, but its extent line says 40001");
}

TEST_CASE("a directory's size of all ones is no trap") {
    CHECK(read(extent().put64(at_directory_size, ~std::uint64_t{0})).runs == "0+40000 unallocated\n");
}

TEST_CASE("an seSparse directory that only a hole can hold is refused, whatever memory there is") {
    Blob file = extent();
    file.put64(at_capacity, (std::uint64_t{1} << 54) - 1).put64(at_directory_size, ~std::uint64_t{0});
    CHECK(failure_of([&] { read(file_of(file, Bytes(huge - 1))); }) ==
          Failure{ErrorKind::format,
                  "'/a': a grain directory of 549755813888 entries (at most 4194304 are read)"});
}

TEST_CASE("an seSparse extent that holds more than its line says ends where the line says") {
    const Read shorter = read(extent().put64(table_0, allocated(0)), Sectors(3));
    CHECK(shorter.runs == "0+3 data /a@131\n");
    CHECK(shorter.notes ==
          std::vector<std::string>{"'/a' holds 40000 sectors; the 3 that its extent line says are used"});
}

TEST_CASE("damage beyond the end of the extent is not the disk's") {
    Blob file = extent();
    file.put64(table_1 + 1000 * 8, std::uint64_t{15} << 60);
    CHECK(read(file).runs == "0+40000 unallocated\n");
}

}  // namespace
}  // namespace vmdkdm
