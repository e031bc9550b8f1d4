#include "vmdk/cowd.h"

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

constexpr std::size_t at_capacity = 12;
constexpr std::size_t at_grain_size = 16;
constexpr std::size_t at_directory = 20;
constexpr std::size_t at_entries = 24;
constexpr std::size_t at_end = 28;

// 5000 sectors in grains of 1, so two tables: the directory in sector 4, the tables in 5 to 36 and 37 to 68,
// grains in 69 to 79.
constexpr std::size_t directory = 4 * 512;
constexpr std::size_t table_0 = 5 * 512;
constexpr std::size_t table_1 = 37 * 512;

Blob extent() {
    Blob file(80);
    file.put_text(0, "COWD").put32(4, 1).put32(8, 3);
    file.put32(at_capacity, 5000).put32(at_grain_size, 1).put32(at_directory, 4).put32(at_entries, 2);
    file.put32(at_end, 80).put32(directory, 5).put32(directory + 4, 37);
    return file;
}

struct Read {
    std::string runs;
    std::vector<std::string> notes;
};

Read read(const Blob& blob, Sectors size = Sectors(5000)) {
    const auto file =
        std::make_shared<MemoryFile>("/a", FileIdentity{1, 1}, blob.bytes(), Bytes(blob.size()));
    std::vector<std::string> notes;
    Layer::Builder layer;
    append_cowd_extent(layer, file, size, 0, notes);
    return {show(std::move(layer).build()), std::move(notes)};
}

std::string fault(const Blob& blob, Sectors size = Sectors(5000)) {
    const Failure failure = failure_of([&] { read(blob, size); });
    CHECK(failure.kind == ErrorKind::format);
    return failure.text;
}

TEST_CASE("an ESX sparse extent's grains are single sectors, found through its tables") {
    Blob file = extent();
    file.put32(table_0, 69).put32(table_0 + 4, 70).put32(table_0 + 8, 79).put32(table_0 + 4095 * 4, 72);
    file.put32(table_1, 73);
    CHECK(read(file).runs ==
          "0+2 data /a@69\n2+1 data /a@79\n3+4092 unallocated\n4095+2 data /a@72\n4097+903 unallocated\n");
    CHECK(read(file).notes.empty());
}

TEST_CASE("an ESX sparse extent may have grains of up to 2048 sectors") {
    Blob file = extent();
    file.put32(at_grain_size, 8).put32(table_0 + 4, 72);
    CHECK(read(file).runs == "0+8 unallocated\n8+8 data /a@72\n16+4984 unallocated\n");
    CHECK(read(extent().put32(at_grain_size, 2048)).runs == "0+5000 unallocated\n");
}

TEST_CASE("an entry of 1 is zeros, one inside header or directory is damage") {
    const std::string damaged = "unreadable: '/a': a grain lies inside the metadata\n";
    CHECK(read(extent().put32(table_0, 1)).runs == "0+1 zero\n1+4999 unallocated\n");
    for (const unsigned sector : {2U, 3U, 4U})
        CHECK(read(extent().put32(table_0, sector)).runs == concat("0+1 ", damaged, "1+4999 unallocated\n"));
    // Where the directory is elsewhere, what follows the header may be a grain.
    Blob elsewhere = extent().put32(at_directory, 79).put32(79 * 512, 5).put32(79 * 512 + 4, 37);
    CHECK(read(elsewhere.put32(table_0, 4)).runs == "0+1 data /a@4\n1+4999 unallocated\n");
}

TEST_CASE("what lies beyond the end of the file is unreadable") {
    CHECK(read(extent().put32(table_0, 80)).runs ==
          "0+1 unreadable: '/a': a grain lies beyond the end of the file\n1+4999 unallocated\n");
    CHECK(read(extent().put32(table_0, 0xffffffff)).runs ==
          "0+1 unreadable: '/a': a grain lies beyond the end of the file\n1+4999 unallocated\n");
    const std::string misplaced = concat("unreadable: '/a': ", misplaced_table, "\n");
    for (const unsigned sector : {1U, 3U, 40U, 0xffffffffU})
        CHECK(read(extent().put32(directory, sector)).runs ==
              (sector == 40 ? concat("0+5000 ", misplaced)  // it overlaps the other
                            : concat("0+4096 ", misplaced, "4096+904 unallocated\n")));
}

TEST_CASE("an ESX sparse extent without a table has nothing allocated there") {
    CHECK(read(extent().put32(directory, 0).put32(table_1, 69)).runs ==
          "0+4096 unallocated\n4096+1 data /a@69\n4097+903 unallocated\n");
}

TEST_CASE("a COWD header that says what cannot be is refused, saying what is wrong") {
    struct Case {
        std::size_t offset;
        std::uint32_t value;
        const char* message;
    };
    static const Case cases[] = {
        {0, 0x564d444b, "not an ESX sparse extent (COWD)"},
        {4, 0, "ESX sparse extent of version 0 (expected 1)"},
        {4, 2, "ESX sparse extent of version 2 (expected 1)"},
        {at_grain_size, 0, "grain size of 0 sectors (expected a power of two up to 2048)"},
        {at_grain_size, 3, "grain size of 3 sectors (expected a power of two up to 2048)"},
        {at_grain_size, 4096, "grain size of 4096 sectors (expected a power of two up to 2048)"},
        {at_grain_size, 0x80000000, "grain size of 2147483648 sectors (expected a power of two up to 2048)"},
        {at_entries, 1, "the grain directory has 1 entries, expected 2"},
        {at_entries, 0, "the grain directory has 0 entries, expected 2"},
        {at_capacity, 0xffffffff, "the grain directory has 2 entries, expected 1048576"},
        {at_directory, 0, "the grain directory does not lie inside the file"},
        {at_directory, 3, "the grain directory does not lie inside the file"},
        {at_directory, 80, "the grain directory does not lie inside the file"},
        {at_directory, 0xffffffff, "the grain directory does not lie inside the file"},
    };
    for (const Case& c : cases)
        CHECK(fault(extent().put32(c.offset, c.value)) == concat("'/a': ", c.message));
    CHECK(fault(extent().put32(at_capacity, 4999)) ==
          "'/a' holds 4999 sectors, but its extent line says 5000");
    CHECK(fault(extent().put32(at_capacity, 0)) == "'/a' holds 0 sectors, but its extent line says 5000");
    CHECK(fault(extent().resize(2047)) == "'/a': the file is shorter than an ESX sparse extent's header");
    CHECK(fault(extent().resize(4 * 512 + 7)) == "'/a': the grain directory does not lie inside the file");
}

TEST_CASE("a directory may have more entries than the disk needs") {
    CHECK(read(extent().put32(at_entries, 0xffffffff).put32(directory + 8, 0xffffffff)).runs ==
          "0+5000 unallocated\n");
}

TEST_CASE("an extent that holds more than its line says ends where the line says") {
    const Read shorter = read(extent().put32(table_0, 69), Sectors(1));
    CHECK(shorter.runs == "0+1 data /a@69\n");
    CHECK(shorter.notes ==
          std::vector<std::string>{"'/a' holds 5000 sectors; the 1 that its extent line says are used"});
}

TEST_CASE("a file that is shorter than its header says was cut, and a note says so") {
    CHECK(read(extent().put32(at_end, 81)).notes ==
          std::vector<std::string>{"'/a' is cut short: 40960 bytes, its header says 41472"});
}

TEST_CASE("tables of an ESX sparse extent that share sectors are not read") {
    CHECK(read(extent().put32(directory + 4, 5)).runs ==
          concat("0+5000 unreadable: '/a': ", misplaced_table, "\n"));
}

}  // namespace
}  // namespace vmdkdm
