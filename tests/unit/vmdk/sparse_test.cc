#include "vmdk/sparse.h"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>
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

// Where the fields of the header are.
constexpr std::size_t at_version = 4;
constexpr std::size_t at_flags = 8;
constexpr std::size_t at_capacity = 12;
constexpr std::size_t at_grain_size = 20;
constexpr std::size_t at_entries = 44;
constexpr std::size_t at_redundant_directory = 48;
constexpr std::size_t at_directory = 56;
constexpr std::size_t at_overhead = 64;
constexpr std::size_t at_unclean = 72;
constexpr std::size_t at_algorithm = 77;

constexpr std::uint64_t huge = std::uint64_t{1} << 63;

// A header of its own sector at `offset`: 64 sectors in grains of 8 and tables of 4, so of two tables.
Blob& put_header(Blob& file, std::size_t offset = 0) {
    return file.put_text(offset, "KDMV")
        .put32(offset + at_version, 1)
        .put32(offset + at_flags, 0x3)
        .put64(offset + at_capacity, 64)
        .put64(offset + at_grain_size, 8)
        .put32(offset + at_entries, 4)
        .put64(offset + at_redundant_directory, 4)
        .put64(offset + at_directory, 1)
        .put64(offset + at_overhead, 8)
        .put_text(offset + 73, "\n \r\n");
}

// Sector 1 is the directory, 2 and 3 are its tables; 4 is the redundant one, 5 and 6 are its tables; grains
// lie in 8 to 71.
constexpr std::size_t directory = 512;
constexpr std::size_t table_0 = 2 * 512;
constexpr std::size_t table_1 = 3 * 512;
constexpr std::size_t redundant_directory = 4 * 512;
constexpr std::size_t redundant_table_0 = 5 * 512;

Blob extent() {
    Blob file(72);
    put_header(file);
    file.put32(directory, 2).put32(directory + 4, 3);
    file.put32(redundant_directory, 5).put32(redundant_directory + 4, 6);
    return file;
}

// A stream whose directory is known from the footer only: header, grains in 8 and 9, table in 10, directory
// in 11, footer marker, footer, end-of-stream marker.
Blob stream() {
    Blob file(15);
    for (const std::size_t header : {std::size_t{0}, std::size_t{13 * 512}})
        put_header(file, header)
            .put32(header + at_version, 3)
            .put32(header + at_flags, 0x30001)
            .put64(header + at_redundant_directory, 0)
            .put64(header + at_directory, header == 0 ? std::numeric_limits<std::uint64_t>::max() : 11)
            .put16(header + at_algorithm, 1);
    file.put32(10 * 512, 8).put32(10 * 512 + 8, 9);
    file.put32(11 * 512 + 4, 10);
    file.put64(12 * 512, 1).put32(12 * 512 + 12, 3);
    return file;
}

FilePtr file_of(const Blob& blob) {
    return std::make_shared<MemoryFile>("/a", FileIdentity{1, 1}, blob.bytes(), Bytes(blob.size()));
}

// The same, with zeros up to `size`.
FilePtr file_of(const Blob& blob, Bytes size) {
    return std::make_shared<MemoryFile>("/a", FileIdentity{1, 1}, blob.bytes(), size);
}

struct Read {
    std::string runs;
    std::vector<std::string> notes;
};

Read read(const FilePtr& file, Sectors size = Sectors(64), bool use_redundant = false) {
    std::vector<std::string> notes;
    Layer::Builder layer;
    append_sparse_extent(layer, file, read_sparse_header(*file), size, 0, {use_redundant}, notes);
    return {show(std::move(layer).build()), std::move(notes)};
}
Read read(const Blob& blob) { return read(file_of(blob)); }

std::string fault(const Blob& blob) {
    const Failure failure = failure_of([&] { read(blob); });
    CHECK(failure.kind == ErrorKind::format);
    return failure.text;
}

TEST_CASE("a file that begins like a sparse extent is one") {
    CHECK(is_sparse_extent(*file_of(Blob(0).append("KDMV"))));
    CHECK_FALSE(is_sparse_extent(*file_of(Blob(0).append("KDM"))));
    CHECK_FALSE(is_sparse_extent(*file_of(Blob(1))));
}

TEST_CASE("a sparse extent's header is read whole") {
    Blob file = extent();
    file.put64(28, 1).put64(36, 20).put(at_unclean, 1, 1);
    const SparseHeader header = read_sparse_header(*file_of(file));
    CHECK(header.version == 1);
    CHECK(header.redundant_tables);
    CHECK_FALSE(header.zero_grains);
    CHECK_FALSE(header.compressed);
    CHECK(header.capacity == Sectors(64));
    CHECK(header.grain_size == Sectors(8));
    CHECK(header.descriptor_offset == Sectors(1));
    CHECK(header.descriptor_size == Sectors(20));
    CHECK(header.entries_per_table == 4);
    CHECK(header.redundant_directory == Sectors(4));
    CHECK(header.directory == Sectors(1));
    CHECK(header.overhead == Sectors(8));
    CHECK(header.unclean_shutdown);
}

TEST_CASE("a descriptor's size without a place means nothing") {
    CHECK(read_sparse_header(*file_of(extent().put64(36, 20))).descriptor_size == Sectors(0));
}

TEST_CASE("versions 1 to 3, every grain size and low flag bits of any meaning are accepted") {
    for (const unsigned version : {1U, 2U, 3U})
        CHECK(read(extent().put32(at_version, version)).runs == "0+64 unallocated\n");
    for (std::uint64_t size = 8; size <= 65536; size *= 2)
        CHECK(read(extent().put64(at_grain_size, size)).runs == "0+64 unallocated\n");
    CHECK(read(extent().put32(at_flags, 0xfff3)).runs == "0+64 unallocated\n");
    CHECK(read(extent().put32(at_entries, 7)).runs == "0+64 unallocated\n");
}

TEST_CASE("a header that says what cannot be is refused, saying what is wrong") {
    struct Case {
        std::size_t offset;
        std::uint64_t value;
        std::size_t size;
        const char* message;
    };
    static const Case cases[] = {
        {0, 0x44574f43, 4, "not a VMDK sparse extent (encrypted or damaged?)"},
        {at_version, 0, 4, "sparse extent of version 0 (expected 1, 2 or 3)"},
        {at_version, 4, 4, "sparse extent of version 4 (expected 1, 2 or 3)"},
        {at_flags, 0x40003, 4, "sparse extent with unknown flags 0x40003"},
        {at_flags, 0x80000000, 4, "sparse extent with unknown flags 0x80000000"},
        {at_flags, 0x10003, 4, "compression that is not understood (flags 0x10003, algorithm 0)"},
        {at_flags, 0x20003, 4, "compression that is not understood (flags 0x20003, algorithm 0)"},
        {at_flags, 0x30003, 4, "compression that is not understood (flags 0x30003, algorithm 0)"},
        {at_algorithm, 1, 2, "compression that is not understood (flags 0x3, algorithm 1)"},
        {at_algorithm, 2, 2, "compression that is not understood (flags 0x3, algorithm 2)"},
        {73, 0x0d, 1, "its line ends were converted, as by a transfer in text mode: the data is damaged"},
        {73, 0, 4,
         "the four bytes of its header that show whether line ends were converted are zeros: it is damaged, "
         "or "
         "made by a program that does not know the format"},
        {76, 0, 1, "its line ends were converted, as by a transfer in text mode: the data is damaged"},
        {at_capacity, huge, 8, "impossible capacity of 9223372036854775808 sectors"},
        {at_capacity, std::uint64_t{1} << 54, 8, "impossible capacity of 18014398509481984 sectors"},
        {at_grain_size, 0, 8, "grain size of 0 sectors (expected a power of two from 8 to 65536)"},
        {at_grain_size, 3, 8, "grain size of 3 sectors (expected a power of two from 8 to 65536)"},
        {at_grain_size, 4, 8, "grain size of 4 sectors (expected a power of two from 8 to 65536)"},
        {at_grain_size, 96, 8, "grain size of 96 sectors (expected a power of two from 8 to 65536)"},
        {at_grain_size, 1 << 17, 8, "grain size of 131072 sectors (expected a power of two from 8 to 65536)"},
        {at_grain_size, huge, 8,
         "grain size of 9223372036854775808 sectors (expected a power of two from 8 to 65536)"},
        {at_entries, 0, 4, "grain tables of 0 entries (expected 1 to 65536)"},
        {at_entries, 65537, 4, "grain tables of 65537 entries (expected 1 to 65536)"},
        {at_entries, 0x80000000, 4, "grain tables of 2147483648 entries (expected 1 to 65536)"},
    };
    for (const Case& c : cases)
        CHECK(fault(extent().put(c.offset, c.value, c.size)) == concat("'/a': ", c.message));
}

TEST_CASE("the newline bytes count only when the header says so") {
    CHECK(read(extent().put32(at_flags, 0x2).put32(73, 0)).runs == "0+64 unallocated\n");
}

TEST_CASE("a file shorter than the header is refused") {
    CHECK(fault(extent().resize(511)) == "'/a': the file is shorter than a sparse extent's header");
    CHECK(fault(extent().resize(0)) == "'/a': the file is shorter than a sparse extent's header");
}

TEST_CASE("grains that follow each other in the disk and the file are one run, across tables too") {
    Blob file = extent();
    for (std::uint64_t i = 0; i < 8; ++i) file.put32((i < 4 ? table_0 : table_1) + i % 4 * 4, 8 + 8 * i);
    CHECK(read(file).runs == "0+64 data /a@8\n");
}

TEST_CASE("each grain is found where its table says") {
    Blob file = extent();
    file.put32(table_0, 24).put32(table_0 + 4, 16).put32(table_0 + 12, 63).put32(table_1 + 8, 8);
    CHECK(read(file).runs ==
          "0+8 data /a@24\n8+8 data /a@16\n16+8 unallocated\n24+8 data /a@63\n"
          "32+16 unallocated\n48+8 data /a@8\n56+8 unallocated\n");
}

TEST_CASE("a table may be of stretches of every kind, each as long as its entries go on") {
    const auto table_of = [](std::uint32_t flags, const std::vector<std::uint32_t>& entries) {
        Blob file = extent().put32(at_flags, flags).put32(at_entries, 8);
        for (std::size_t i = 0; i < entries.size(); ++i) file.put32(table_0 + i * 4, entries[i]);
        return file;
    };
    CHECK(read(table_of(0x7, {24, 32, 0, 0, 1, 1, 56, 8})).runs ==
          "0+16 data /a@24\n16+16 unallocated\n32+16 zero\n48+8 data /a@56\n56+8 data /a@8\n");
    CHECK(read(table_of(0x3, {24, 24, 16, 8, 16, 24, 0, 32})).runs ==
          "0+8 data /a@24\n8+8 data /a@24\n16+8 data /a@16\n24+24 data /a@8\n48+8 unallocated\n"
          "56+8 data /a@32\n");
    // What would come next is sector 2^32, and not 0, which is no sector.
    CHECK(read(table_of(0x3, {0xfffffff0, 0xfffffff8, 0, 8, 0, 0, 0, 0})).runs ==
          "0+16 unreadable: '/a': a grain lies beyond the end of the file\n16+8 unallocated\n"
          "24+8 data /a@8\n32+32 unallocated\n");
}

TEST_CASE("no table means that nothing is allocated there") {
    CHECK(read(extent().put32(directory, 0).put32(table_1, 8)).runs ==
          "0+32 unallocated\n32+8 data /a@8\n40+24 unallocated\n");
}

TEST_CASE("an entry of 1 is zeros only when the header says that there are such grains") {
    CHECK(read(extent().put32(at_flags, 0x7).put32(table_0, 1).put32(table_0 + 4, 1)).runs ==
          "0+16 zero\n16+48 unallocated\n");
    for (const std::uint64_t overhead : {std::uint64_t{8}, std::uint64_t{0}, huge})
        CHECK(read(extent().put64(at_overhead, overhead).put32(table_0, 1)).runs ==
              "0+8 unreadable: '/a': a grain lies inside the metadata\n8+56 unallocated\n");
}

TEST_CASE("a grain inside the metadata is unreadable, its neighbours are not") {
    Blob file = extent();
    for (std::uint64_t i = 0; i < 4; ++i) file.put32(table_0 + i * 4, 2 + 8 * i);  // a stretch from sector 2
    CHECK(read(file).runs ==
          "0+8 unreadable: '/a': a grain lies inside the metadata\n8+24 data /a@10\n32+32 unallocated\n");
    CHECK(read(file.put64(at_overhead, 18)).runs ==
          "0+16 unreadable: '/a': a grain lies inside the metadata\n16+16 data /a@18\n32+32 unallocated\n");
}

TEST_CASE("a grain beyond the end of the file is unreadable, as far as it is") {
    const std::string why = "unreadable: '/a': a grain lies beyond the end of the file\n";
    CHECK(read(extent().put32(table_0, 72)).runs == concat("0+8 ", why, "8+56 unallocated\n"));
    CHECK(read(extent().put32(table_0, 0xffffffff)).runs == concat("0+8 ", why, "8+56 unallocated\n"));
    CHECK(read(extent().put32(table_0, 67)).runs ==
          concat("0+5 data /a@67\n5+3 ", why, "8+56 unallocated\n"));
    Blob stretch = extent();
    for (std::uint64_t i = 0; i < 4; ++i) stretch.put32(table_0 + i * 4, 60 + 8 * i);
    CHECK(read(stretch).runs == concat("0+12 data /a@60\n12+20 ", why, "32+32 unallocated\n"));
    // A loop device drops the part of a sector at the end.
    CHECK(read(extent().resize(71 * 512 + 511).put32(table_0, 64)).runs ==
          concat("0+7 data /a@64\n7+1 ", why, "8+56 unallocated\n"));
}

TEST_CASE("the last grain may be cut where the disk ends, and what its table says beyond is ignored") {
    Blob file = extent();
    file.put64(at_capacity, 51).put32(table_1 + 8, 69);
    CHECK(read(file_of(file), Sectors(51)).runs == "0+48 unallocated\n48+3 data /a@69\n");
    CHECK(read(file_of(file.put32(table_1 + 12, 1)), Sectors(51)).runs ==
          "0+48 unallocated\n48+3 data /a@69\n");
}

TEST_CASE("an extent ends where its line says, whatever its header holds beyond") {
    const Blob file = extent().put32(table_0, 8).put32(table_0 + 4, 1);
    const Read shorter = read(file_of(file), Sectors(5));
    CHECK(shorter.runs == "0+5 data /a@8\n");
    CHECK(shorter.notes ==
          std::vector<std::string>{"'/a' holds 64 sectors; the 5 that its extent line says are used"});
    CHECK(failure_of([&] { read(file_of(file), Sectors(65)); }) ==
          Failure{ErrorKind::format, "'/a' holds 64 sectors, but its extent line says 65"});
}

TEST_CASE("tables that are not where tables can be make their grains unreadable") {
    const std::string why = concat("unreadable: '/a': ", misplaced_table, "\n");
    const Blob file = extent().put32(table_1, 8);
    const std::string second = "32+8 data /a@8\n40+24 unallocated\n";
    CHECK(read(Blob(file).put32(directory, 72)).runs == concat("0+32 ", why, second));
    CHECK(read(Blob(file).put32(directory, 0xffffffff)).runs == concat("0+32 ", why, second));
    CHECK(read(Blob(file).put32(directory, 1)).runs == concat("0+32 ", why, second));
    // Cut by the end of the file: by one byte.
    Blob cut = extent().put32(directory + 4, 71).put32(71 * 512, 16);
    CHECK(read(cut).runs == "0+32 unallocated\n32+8 data /a@16\n40+24 unallocated\n");
    CHECK(read(cut.resize(71 * 512 + 15)).runs == concat("0+32 unallocated\n32+32 ", why));
}

TEST_CASE("tables that share sectors are not read: a small file must not make a large map") {
    const std::string why = concat("unreadable: '/a': ", misplaced_table, "\n");
    CHECK(read(extent().put32(directory + 4, 2).put32(table_0, 8)).runs == concat("0+64 ", why));

    // 1000 tables of 512 grains; the first and the last of them overlap by a sector.
    Blob many(1);
    put_header(many)
        .put64(at_capacity, 1000 * 512 * 8)
        .put32(at_entries, 512)
        .put64(at_directory, 1)
        .put64(at_overhead, 4100);
    for (std::uint64_t i = 0; i < 1000; ++i) many.put32(512 + i * 4, i == 999 ? 103 : 100 + 4 * i);
    for (std::uint64_t i = 0; i < 512; ++i) many.put32(100 * 512 + i * 4, 5000 - 8 * i);
    many.resize(8000 * 512);
    CHECK(read(file_of(many), Sectors(1000 * 512 * 8)).runs ==
          concat("0+8192 ", why, "8192+4083712 unallocated\n4091904+4096 ", why));
}

TEST_CASE("a directory of a million entries that all name one table takes no time and no memory") {
    constexpr std::uint64_t tables = 1 << 20;
    Blob file(1);
    put_header(file)
        .put64(at_capacity, tables * 512 * 8)
        .put32(at_entries, 512)
        .put64(at_directory, 8)
        .put64(at_overhead, 5);
    for (std::uint64_t i = 0; i < 512; ++i) file.put32(4 * 512 + i * 4, 9000 - 8 * i);
    file.resize(8 * 512);
    for (std::uint64_t i = 0; i < tables; ++i) file.put32(8 * 512 + i * 4, 4);
    CHECK(read(file_of(file), Sectors(tables * 512 * 8)).runs ==
          concat("0+4294967296 unreadable: '/a': ", misplaced_table, "\n"));
    for (std::uint64_t i = 0; i < tables; ++i) file.put32(8 * 512 + i * 4, 0xf0000000 + i);
    CHECK(read(file_of(file), Sectors(tables * 512 * 8)).runs ==
          concat("0+4294967296 unreadable: '/a': ", misplaced_table, "\n"));
}

TEST_CASE("65536 grains in the metadata are one run with one reason") {
    Blob file(1);
    put_header(file)
        .put64(at_capacity, 65536 * 8)
        .put32(at_entries, 65536)
        .put64(at_directory, 2)
        .put32(2 * 512, 3)
        .put64(at_overhead, 1 << 20);
    const std::string all = "0+524288 unreadable: '/a': a grain lies inside the metadata\n";
    for (std::uint64_t i = 0; i < 65536; ++i) file.put32(3 * 512 + i * 4, 2 + 8 * i);
    CHECK(read(file_of(file, Bytes(std::uint64_t{512} << 20)), Sectors(65536 * 8)).runs == all);
    for (std::uint64_t i = 0; i < 65536; ++i) file.put32(3 * 512 + i * 4, 2 + 7 * i);
    CHECK(read(file_of(file, Bytes(std::uint64_t{512} << 20)), Sectors(65536 * 8)).runs == all);
}

TEST_CASE("a grain directory outside the file is an error that names the option, if there is another") {
    const std::string message = "'/a': the grain directory does not lie inside the file";
    for (const std::uint64_t place :
         {std::uint64_t{0}, std::uint64_t{72}, std::uint64_t{1} << 55, huge, huge >> 2}) {
        const Blob file = extent().put64(at_directory, place).put32(redundant_table_0, 16);
        CHECK(fault(file) == message + " (see --use-redundant)");
        CHECK(fault(Blob(file).put32(at_flags, 0x1)) == message);
        const Read redundant = read(file_of(file), Sectors(64), true);
        CHECK(redundant.runs == "0+8 data /a@16\n8+56 unallocated\n");
        CHECK(redundant.notes ==
              std::vector<std::string>{"'/a' is read through its redundant grain directory"});
    }
    CHECK(failure_of([&] {
              read(file_of(extent().put64(at_redundant_directory, huge)), Sectors(64), true);
          }) == Failure{ErrorKind::format, message});
    CHECK(fault(extent().resize(512 + 7)) == message + " (see --use-redundant)");
}

TEST_CASE("without a redundant directory the primary one is read, and a note says so") {
    const Read only = read(file_of(extent().put32(at_flags, 1).put32(table_0, 16)), Sectors(64), true);
    CHECK(only.runs == "0+8 data /a@16\n8+56 unallocated\n");
    CHECK(only.notes ==
          std::vector<std::string>{"'/a' has no redundant grain directory; its only one is read"});
}

TEST_CASE("a directory that only a sparse file's hole can hold is refused, whatever memory there is") {
    const FilePtr file = file_of(extent().put64(at_capacity, (std::uint64_t{1} << 54) - 1), Bytes(huge - 1));
    CHECK(failure_of([&] { read(file, Sectors((std::uint64_t{1} << 54) - 1)); }) ==
          Failure{ErrorKind::format,
                  "'/a': a grain directory of 562949953421312 entries (at most 4194304 are read)"});
}

TEST_CASE("a file that is one enormous hole behind its grains is read like any other") {
    CHECK(read(file_of(extent().put32(table_0, 8), Bytes(huge - 1))).runs ==
          "0+8 data /a@8\n8+56 unallocated\n");
}

TEST_CASE("what was not closed cleanly is compared with its redundant copy") {
    const std::string unclean = "'/a' was not closed cleanly";
    const Blob file = extent().put(at_unclean, 1, 1).put32(table_0, 8).put32(redundant_table_0, 8);
    CHECK(read(file).notes == std::vector<std::string>{unclean});

    const std::string differ =
        "'/a': the grain directory and its redundant copy differ; the directory is read";
    const Read table_differs = read(Blob(file).put32(redundant_table_0, 16));
    CHECK(table_differs.notes == std::vector<std::string>{unclean, differ});
    CHECK(table_differs.runs == "0+8 data /a@8\n8+56 unallocated\n");
    CHECK(read(Blob(file).put32(redundant_directory, 0)).notes == std::vector<std::string>{unclean, differ});
    CHECK(read(Blob(file).put32(redundant_directory, 0xffffffff)).notes ==
          std::vector<std::string>{unclean, differ});

    const std::string gone = "'/a': the redundant grain directory cannot be read";
    CHECK(read(Blob(file).put64(at_redundant_directory, 72)).notes ==
          std::vector<std::string>{unclean, gone});
    CHECK(read(Blob(file).put64(at_redundant_directory, huge)).notes ==
          std::vector<std::string>{unclean, gone});
    CHECK(read(Blob(file).put32(at_flags, 1).put32(redundant_table_0, 16)).notes ==
          std::vector<std::string>{unclean});
}

TEST_CASE("copies that differ in a file that was closed are not looked for") {
    CHECK(read(extent().put32(redundant_table_0, 16)).notes.empty());
}

TEST_CASE("grains that share sectors are read, with a note") {
    const Read shared = read(extent().put32(table_0, 8).put32(table_1, 8));
    CHECK(shared.runs == "0+8 data /a@8\n8+24 unallocated\n32+8 data /a@8\n40+24 unallocated\n");
    CHECK(shared.notes == std::vector<std::string>{"'/a': grains share sectors of the file"});
}

TEST_CASE("a stream's grains are told one by one, from the tables that its footer leads to") {
    CHECK(read(stream()).runs ==
          "0+32 unallocated\n32+8 compressed /a@8\n40+8 unallocated\n48+8 compressed /a@9\n"
          "56+8 unallocated\n");
}

TEST_CASE("a stream whose header knows the directory needs no footer") {
    CHECK(read(stream().put64(at_directory, 11).resize(12 * 512)).runs == read(stream()).runs);
}

TEST_CASE("a stream may have zero grains, if its header says so") {
    const Blob file = stream().put32(10 * 512, 1);
    CHECK(read(Blob(file).put32(at_flags, 0x30005).put32(13 * 512 + at_flags, 0x30005)).runs ==
          "0+32 unallocated\n32+8 zero\n40+8 unallocated\n48+8 compressed /a@9\n56+8 unallocated\n");
    CHECK(read(file).runs ==
          "0+32 unallocated\n32+8 unreadable: '/a': a compressed grain lies outside the data of the file\n"
          "40+8 unallocated\n48+8 compressed /a@9\n56+8 unallocated\n");
}

TEST_CASE("a compressed grain beyond the file is unreadable; beyond the extent it is ignored") {
    CHECK(read(stream().put32(10 * 512, 15)).runs ==
          "0+32 unallocated\n32+8 unreadable: '/a': a compressed grain lies outside the data of the file\n"
          "40+8 unallocated\n48+8 compressed /a@9\n56+8 unallocated\n");
    Blob file = stream().put32(10 * 512 + 12, 0xffffffff);
    file.put64(at_capacity, 51).put64(13 * 512 + at_capacity, 51);
    CHECK(read(file_of(file), Sectors(51)).runs ==
          "0+32 unallocated\n32+8 compressed /a@8\n40+8 unallocated\n48+3 compressed /a@9\n");
}

TEST_CASE("a stream's last grain may end inside a sector, at the end of the file") {
    // As qemu wrote: the directory stands in front, and nothing is behind the last grain.
    Blob file = stream().put64(at_directory, 7).put32(7 * 512, 6).put32(6 * 512, 8).put32(6 * 512 + 4, 9);
    file.resize(9 * 512 + 280);
    CHECK(read(file).runs == "0+8 compressed /a@8\n8+8 compressed /a@9\n16+48 unallocated\n");
    CHECK(read(file.resize(9 * 512)).runs ==
          "0+8 compressed /a@8\n"
          "8+8 unreadable: '/a': a compressed grain lies outside the data of the file\n16+48 unallocated\n");
}

TEST_CASE("a stream that was cut short is refused") {
    const std::string message =
        "'/a': cut short: the file does not end with a footer and an end-of-stream marker";
    for (const std::size_t lost : {1U, 511U, 512U, 1024U, 1536U, 3U * 1024U})
        CHECK(fault(stream().resize(15 * 512 - lost)) == message);
    CHECK(fault(stream().resize(1024)) == "'/a': cut short: the footer is missing");
}

TEST_CASE("bytes behind a stream's end are passed over, with a note") {
    const std::string runs = read(stream()).runs;
    for (const std::size_t added : {1U, 511U, 512U, 513U, 1536U, 4096U, 60U * 1024U}) {
        const Read found = read(Blob(stream()).append(std::string(added, 'x')));
        CHECK(found.runs == runs);
        CHECK(found.notes == std::vector<std::string>{concat(
                                 "'/a': ", added, " bytes follow the end of the stream; they are ignored")});
    }
    CHECK(read(Blob(stream()).append(std::string(1536, '\0'))).runs == runs);
    CHECK(fault(stream().append(std::string(66 * 1024, 'x'))) ==
          "'/a': cut short: the file does not end with a footer and an end-of-stream marker");
}

TEST_CASE("what looks like a footer behind a stream's end must be one") {
    // Its directory would follow it.
    CHECK(fault(stream().put64(13 * 512 + at_directory, 15).append(std::string(512, 'x'))) ==
          "'/a': cut short: the file does not end with a footer and an end-of-stream marker");
    CHECK(fault(stream().put64(13 * 512 + at_capacity, 63).append("x")) == "'/a': header and footer differ");
}

TEST_CASE("a footer with damaged markers is none") {
    const std::string message =
        "'/a': cut short: the file does not end with a footer and an end-of-stream marker";
    CHECK(fault(stream().put32(12 * 512 + 12, 2)) == message);
    CHECK(fault(stream().put32(14 * 512 + 12, 1)) == message);
    CHECK(fault(stream().put64(14 * 512, 1)) == message);
    CHECK(fault(stream().put32(13 * 512, 0)) == message);
}

TEST_CASE("a footer must know the directory and agree with the header") {
    const auto at_footer = [](std::size_t field) { return 13 * 512 + field; };
    CHECK(fault(stream().put64(at_footer(at_directory), std::numeric_limits<std::uint64_t>::max())) ==
          "'/a': the footer does not say where the grain directory is");
    CHECK(fault(stream().put64(at_footer(at_capacity), 65)) == "'/a': header and footer differ");
    CHECK(fault(stream().put64(at_footer(at_grain_size), 16)) == "'/a': header and footer differ");
    CHECK(fault(stream().put32(at_footer(at_entries), 5)) == "'/a': header and footer differ");
    CHECK(fault(stream().put64(at_footer(at_directory), huge)) ==
          "'/a': the grain directory does not lie inside the file");
    CHECK(fault(stream().put32(at_footer(at_version), 9)) ==
          "'/a': sparse extent of version 9 (expected 1, 2 or 3)");
}

}  // namespace
}  // namespace vmdkdm
