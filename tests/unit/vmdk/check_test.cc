#include "vmdk/check.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/concat.h"
#include "support/blob.h"
#include "support/failure.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Blob;
using test::Failure;
using test::failure_of;
using test::MemoryFiles;

std::string descriptor(const std::string& extents, const std::string& parents = "") {
    return concat("version=1\nCID=0000aaaa\n", parents, extents, "\n");
}

std::string child(const std::string& extents, const std::string& hint, const std::string& parent_cid) {
    return descriptor(extents, concat("parentCID=", parent_cid, "\nparentFileNameHint=\"", hint, "\"\n"));
}

std::vector<std::string> lines_of(const FindingList& list) {
    std::vector<std::string> lines;
    for (const Finding& finding : list.kept())
        lines.push_back(concat(finding.file, " ", finding.offset.count(), " ", to_string(finding.kind), ": ",
                               finding.text));
    return lines;
}

struct Verdict {
    std::vector<std::string> faults;
    std::vector<std::string> notes;
    CheckedImage checked;
};

Verdict check(FileOpener& files, const ChainRules& rules = {}) {
    CheckedImage checked = check_image("/vm/disk.vmdk", files, rules);
    return {lines_of(checked.findings.faults), lines_of(checked.findings.notes), std::move(checked)};
}

// One extent file below a descriptor.
Verdict check_extent(const std::string& line, const Blob& extent) {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", descriptor(line));
    files.add("/vm/a", extent.bytes());
    return check(files);
}

using Lines = std::vector<std::string>;

// 64 sectors in grains of 8 and two tables of 4. Sector 1: directory, 2 and 3: tables; 4: redundant
// directory, 5 and 6: its tables; grains from 8 on. Grain 0 is in sector 8, grain 5 in 16.
Blob sparse() {
    Blob file(24);
    file.put_text(0, "KDMV").put32(4, 1).put32(8, 0x3).put64(12, 64).put64(20, 8).put32(44, 4);
    file.put64(48, 4).put64(56, 1).put64(64, 8).put_text(73, "\n \r\n");
    file.put32(512, 2).put32(516, 3).put32(4 * 512, 5).put32(4 * 512 + 4, 6);
    for (const std::size_t table : {2U, 5U}) file.put32(table * 512, 8);
    for (const std::size_t table : {3U, 6U}) file.put32(table * 512 + 4, 16);
    return file;
}

Verdict check_sparse(const Blob& extent) { return check_extent("RW 64 SPARSE \"a\"", extent); }
Verdict faults_of_both(Blob& extent, std::size_t entry, std::uint64_t value) {
    return check_sparse(extent.put32(2 * 512 + 4 * entry, value).put32(5 * 512 + 4 * entry, value));
}

TEST_CASE("a sound image has no finding") {
    const Verdict verdict = check_sparse(sparse());
    CHECK(verdict.faults == Lines{});
    CHECK(verdict.notes == Lines{});
    CHECK(verdict.checked.findings.sound());
    CHECK(verdict.checked.files == 2);
    CHECK(verdict.checked.chain.images.size() == 1);
    CHECK(verdict.checked.path == "/vm/disk.vmdk");
}

TEST_CASE("grains outside the file and inside the metadata are faults at their entries") {
    Blob file = sparse();
    CHECK(faults_of_both(file, 1, 24).faults ==
          Lines{"/vm/a 1028 grain: grain 1 lies at byte 12288, beyond the end of the file"});
    CHECK(faults_of_both(file, 1, 20).faults ==
          Lines{"/vm/a 1028 grain: grain 1 lies at byte 10240, and the file ends inside it"});
    CHECK(faults_of_both(file, 1, 0xffffffff).faults ==
          Lines{"/vm/a 1028 grain: grain 1 lies at byte 2199023255040, beyond the end of the file"});
    CHECK(faults_of_both(file, 1, 7).faults ==
          Lines{"/vm/a 1028 grain: grain 1 lies at byte 3584, inside the metadata"});
    CHECK(
        faults_of_both(file, 1, 1).faults ==
        Lines{"/vm/a 1028 grain: grain 1 is marked as zeros, but the header says that there are none such"});
    CHECK(check_sparse(file.put32(8, 0x7)).faults == Lines{});
}

TEST_CASE("a directory that is named as its own copy is a note") {
    const Verdict verdict = check_sparse(sparse().put64(48, 1));
    CHECK(verdict.faults == Lines{});
    CHECK(
        verdict.notes ==
        Lines{"/vm/a 48 redundant: the redundant grain directory is the grain directory itself: there is no "
              "copy of it"});
}

TEST_CASE("a grain that is cut where the disk ends is whole; entries beyond the disk mean nothing") {
    Blob file = sparse().put64(12, 44).put32(3 * 512 + 8, 99).put32(6 * 512 + 8, 99).resize(20 * 512);
    CHECK(check_extent("RW 44 SPARSE \"a\"", file).faults == Lines{});
}

TEST_CASE("shared and overlapping sectors are faults") {
    Blob file = sparse();
    CHECK(faults_of_both(file, 1, 16).faults ==
          Lines{"/vm/a 8192 overlap: 4096 bytes belong to grain 1 and to grain 5"});
    CHECK(faults_of_both(file, 1, 12).faults ==
          Lines{"/vm/a 6144 overlap: 2048 bytes belong to grain 0 and to grain 1",
                "/vm/a 8192 overlap: 2048 bytes belong to grain 1 and to grain 5"});
    Blob two_tables = sparse().put32(516, 2).put32(4 * 512 + 4, 5);
    CHECK(check_sparse(two_tables).faults ==
          Lines{"/vm/a 1024 overlap: 512 bytes belong to grain table 0 and to grain table 1",
                "/vm/a 2560 overlap: 512 bytes belong to redundant grain table 0 and to redundant grain "
                "table 1"});
    CHECK(check_sparse(sparse().put64(64, 0).put32(2 * 512 + 4, 3).put32(5 * 512 + 4, 3)).faults ==
          Lines{"/vm/a 1536 overlap: 512 bytes belong to grain table 1 and to grain 1",
                "/vm/a 2048 overlap: 512 bytes belong to grain 1 and to the redundant grain directory",
                "/vm/a 2560 overlap: 1024 bytes belong to grain 1 and to redundant grain table 0",
                "/vm/a 4096 overlap: 1536 bytes belong to grain 1 and to grain 0"});
}

TEST_CASE("a directory and a table that differ from their copies are faults") {
    CHECK(check_sparse(sparse().put32(6 * 512 + 4, 8)).faults ==
          Lines{"/vm/a 3076 redundant: of grain 5 the grain table says 16, its redundant copy 8"});
    CHECK(
        check_sparse(sparse().put32(4 * 512 + 4, 0)).faults ==
        Lines{"/vm/a 2052 redundant: grain table 1 is in the grain directory, but not in the redundant one"});
    CHECK(check_sparse(sparse().put32(512 + 4, 0)).faults ==
          Lines{"/vm/a 2052 redundant: grain table 1 is in the redundant grain directory only"});
    CHECK(
        check_sparse(sparse().put64(48, 24)).faults ==
        Lines{"/vm/a 48 directory: the redundant grain directory (sector 24, 2 entries) does not lie inside "
              "the file"});
}

TEST_CASE("damage in the directory does not hide what is wrong elsewhere") {
    Blob file = sparse().put32(512, 24).put32(3 * 512, 99).put32(6 * 512, 99).put32(4 * 512, 1);
    CHECK(check_sparse(file).faults ==
          Lines{"/vm/a 512 directory: grain table 0 lies at byte 12288, not inside the file",
                "/vm/a 1536 grain: grain 4 lies at byte 50688, beyond the end of the file",
                "/vm/a 2048 directory: redundant grain table 0 is said to be in sector 1, which no reader "
                "takes for "
                "a table"});
}

TEST_CASE("space between grains that no table refers to is a note; space behind them is nothing") {
    Blob file = sparse().put32(2 * 512, 0).put32(5 * 512, 0).resize(99 * 512);
    const Verdict verdict = check_sparse(file);
    CHECK(verdict.faults == Lines{});
    CHECK(verdict.notes ==
          Lines{"/vm/a 4096 unused: 4096 bytes between the grains belong to no table: orphaned "
                "grains, if anything"});
}

TEST_CASE("what a header only mentions is a note") {
    CHECK(check_sparse(sparse().put(72, 1, 1).put32(4, 3).put64(64, 99)).notes ==
          Lines{"/vm/a 64 header: the grains are said to begin at sector 99, beyond the end of the file",
                "/vm/a 4 header: version 3: change tracking was on (it is not read)",
                "/vm/a 72 journal: the file was not closed cleanly"});
    CHECK(check_extent("RW 60 SPARSE \"a\"", sparse()).notes ==
          Lines{"/vm/a 12 extent: the header says 64 sectors, the extent line 60; the line is believed"});
    CHECK(check_extent("RW 65 SPARSE \"a\"", sparse()).faults ==
          Lines{"/vm/a 12 extent: the header says 64 sectors, the extent line 65: data is missing"});
}

TEST_CASE("a header that cannot be is a fault of its file, and the next extent is checked all the same") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", descriptor("RW 64 SPARSE \"a\"\nRW 64 SPARSE \"b\"\nRW 8 FLAT \"c\" 4"));
    files.add("/vm/a", sparse().put64(20, 9).bytes());
    files.add("/vm/c", std::string(6000, 'c'));
    CHECK(check(files).faults ==
          Lines{"/vm/a 0 header: grain size of 9 sectors (expected a power of two from 8 to 65536)",
                "/vm/disk.vmdk 0 extent: extent 2 (line 4): cannot open '/vm/b': No such file or directory",
                "/vm/c 6000 truncated: the file ends here, but the extent on line 5 reaches to byte 6144"});
}

TEST_CASE("flat extents that share sectors, and a sparse file that is used twice, are faults") {
    MemoryFiles files;
    files.add_hole("/vm/f", Bytes(64 * 512));
    files.add("/vm/disk.vmdk", descriptor("RW 8 FLAT \"f\" 4\nRW 8 FLAT \"f\" 12\nRW 8 VMFS \"f\" 0"));
    CHECK(check(files).faults ==
          Lines{"/vm/f 2048 overlap: the extents on lines 5 and 3 of the descriptor share what follows"});
    files.add("/vm/a", sparse().bytes());
    files.add("/vm/disk.vmdk", descriptor("RW 64 SPARSE \"a\"\nRW 64 SPARSE \"a\""));
    CHECK(check(files).faults ==
          Lines{"/vm/disk.vmdk 0 extent: extent 2 (line 4): '/vm/a' is already the extent on "
                "line 3"});
}

TEST_CASE("of each kind the first findings are kept and the rest are counted") {
    Blob file(2048);
    file.put_text(0, "KDMV").put32(4, 1).put64(12, 8 * 65536).put64(20, 8).put32(44, 65536).put64(56, 1);
    file.put64(64, 600).put32(512, 8);
    for (std::size_t i = 0; i < 65536; ++i) file.put32(8 * 512 + 4 * i, 0x80000000 + i);
    const Verdict verdict = check_extent("RW 524288 SPARSE \"a\"", file);
    CHECK(verdict.faults.size() == max_findings_of_a_kind);
    CHECK(verdict.checked.findings.faults.counts() ==
          std::map<FindingKind, std::uint64_t>{{FindingKind::grain, 65536}});
}

// Chains.

TEST_CASE("a parent that is missing, or was written since, is a fault of its child") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", child("RW 8 SPARSE \"a\"", "base.vmdk", "0000aaab"));
    files.add("/vm/a", sparse().bytes());
    CHECK(check(files).faults ==
          Lines{"/vm/disk.vmdk 0 chain: the parent 'base.vmdk' of '/vm/disk.vmdk' (CID "
                "0000aaab) is missing (see --search-dir)"});
    files.add("/vm/base.vmdk", descriptor("RW 9 ZERO"));
    const Verdict verdict = check(files);
    CHECK(
        verdict.faults ==
        Lines{"/vm/disk.vmdk 0 chain: it was made on a parent with CID 0000aaab, but '/vm/base.vmdk' has CID "
              "0000aaaa: that was written since"});
    CHECK(verdict.notes ==
          Lines{"/vm/a 12 extent: the header says 64 sectors, the extent line 8; the line is believed",
                "/vm/disk.vmdk 0 chain: it has 8 sectors, its parent '/vm/base.vmdk' 9"});
    CHECK(verdict.checked.chain.images.size() == 2);
}

TEST_CASE("a chain that comes back to itself is a fault; its links are checked") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", child("RW 64 SPARSE \"a\"", "b.vmdk", "0000aaaa"));
    files.add("/vm/b.vmdk", child("RW 64 SPARSE \"b\"", "disk.vmdk", "0000aaaa"));
    files.add("/vm/a", sparse().bytes());
    files.add("/vm/b", sparse().put32(2 * 512, 99).put32(5 * 512, 99).bytes());
    CHECK(check(files).faults ==
          Lines{"/vm/b 1024 grain: grain 0 lies at byte 50688, beyond the end of the file",
                "/vm/b.vmdk 0 chain: the chain of parents comes back to '/vm/disk.vmdk'"});
}

TEST_CASE("a sparse file that two links use is a fault") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", child("RW 64 SPARSE \"a\"", "b.vmdk", "0000aaaa"));
    files.add("/vm/b.vmdk", descriptor("RW 64 SPARSE \"a\""));
    files.add("/vm/a", sparse().bytes());
    CHECK(check(files).faults ==
          Lines{"/vm/b.vmdk 0 extent: extent 1 (line 3): '/vm/a' is already the extent on "
                "line 5 of '/vm/disk.vmdk'"});
}

TEST_CASE("an older layer is checked alone") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", child("RW 8 SPARSE \"missing\"", "b.vmdk", "0000aaaa"));
    files.add("/vm/b.vmdk", descriptor("RW 8 ZERO"));
    ChainRules rules;
    rules.layer = 1;
    CHECK(check(files, rules).faults == Lines{});
    CHECK(check(files, rules).checked.path == "/vm/b.vmdk");
    rules.layer = 2;
    CHECK(failure_of([&] { check(files, rules); }) ==
          Failure{ErrorKind::usage, "--layer 2: the chain of '/vm/disk.vmdk' has 2 layers, 0 to 1"});
}

TEST_CASE("an image whose descriptor cannot be read has that fault") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", "version=1\nRW eight FLAT \"a\"\n");
    const Verdict verdict = check(files);
    CHECK(verdict.faults.size() == 1);
    CHECK(verdict.faults.front().starts_with("/vm/disk.vmdk 0 descriptor: /vm/disk.vmdk:2:4: "));
    CHECK(verdict.checked.chain.images.empty());
    MemoryFiles none;
    CHECK(failure_of([&] { check(none); }).kind == ErrorKind::not_found);
}

TEST_CASE("encrypted disks are named as such, also where the descriptor is embedded") {
    for (const std::string line :
         {"ddb.iofilters = \"other\"\nddb.iofilters = \"vmwarevmcrypt\"", "encryptionKeys=\"x\"",
          "keyID = \"x\"", "ddb.iofilters = \"vmwarevmcrypt\""}) {
        Blob file = sparse().resize(24 * 512);
        file.put64(28, 24).put64(36, 1).resize(25 * 512);
        file.put_text(24 * 512, concat("version=1\n", line, "\nRW 64 SPARSE \"a\"\n"));
        MemoryFiles files;
        files.add("/vm/disk.vmdk", file.bytes());
        const Verdict verdict = check(files);
        REQUIRE(verdict.faults.size() == 1);
        CHECK(verdict.faults.front().find("the disk is encrypted") != std::string::npos);
    }
}

TEST_CASE("change tracking, filters, NOACCESS and a hint without a parent are notes") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", descriptor("NOACCESS 8 ZERO\nddb.iofilters = \"vmwarelwd\"",
                                          "changeTrackPath=\"disk-ctk.vmdk\"\nparentCID=ffffffff\n"
                                          "parentFileNameHint=\"base.vmdk\"\n"));
    CHECK(
        check(files).notes ==
        Lines{"/vm/disk.vmdk 0 descriptor: change tracking was on (disk-ctk.vmdk; it is not read)",
              "/vm/disk.vmdk 0 descriptor: I/O filters were active (vmwarelwd); newer data may be elsewhere",
              "/vm/disk.vmdk 0 chain: it names a parent, 'base.vmdk', but its parentCID says that it has "
              "none",
              "/vm/disk.vmdk 0 extent: the extent on line 6 is NOACCESS: its 4096 bytes cannot be read"});
}

// Header, grains in sectors 2 and 4, a table's marker and the table in 6 and 7, the directory's and the
// directory in 8 and 9, footer in 11, end of stream in 12.
constexpr std::size_t first_grain = 2 * 512;
constexpr std::size_t second_grain = 4 * 512;
constexpr std::size_t table_marker = 6 * 512;
constexpr std::size_t stream_table = 7 * 512;
constexpr std::size_t directory_marker = 8 * 512;
constexpr std::size_t footer = 11 * 512;
constexpr std::size_t end_of_stream = 12 * 512;

Blob stream() {
    Blob file(13);
    for (const std::size_t header : {std::size_t{0}, footer}) {
        file.put_text(header, "KDMV").put32(header + 4, 3).put32(header + 8, 0x30001).put64(header + 12, 32);
        file.put64(header + 20, 8)
            .put32(header + 44, 4)
            .put64(header + 64, 2)
            .put_text(header + 73, "\n \r\n");
        file.put64(header + 56, header == 0 ? ~std::uint64_t{0} : 9).put16(header + 77, 1);
    }
    file.put64(first_grain, 0).put32(first_grain + 8, 600);
    file.put64(second_grain, 24).put32(second_grain + 8, 1000);
    file.put64(table_marker, 1)
        .put32(table_marker + 12, 1)
        .put32(stream_table, 2)
        .put32(stream_table + 12, 4);
    file.put64(directory_marker, 1).put32(directory_marker + 12, 2).put32(9 * 512, 7);
    return file.put64(10 * 512, 1).put32(10 * 512 + 12, 3);
}

Verdict check_stream(const Blob& file) { return check_extent("RW 32 SPARSE \"a\"", file); }

TEST_CASE("a sound stream has no finding, wherever its directory is known from") {
    CHECK(check_stream(stream()).faults == Lines{});
    CHECK(check_stream(stream()).notes == Lines{});
    CHECK(check_stream(stream().put64(56, 9)).faults == Lines{});
    CHECK(check_stream(stream().append("12345")).notes ==
          Lines{"/vm/a 6656 stream: 5 bytes follow the end of the stream; they are ignored"});
}

TEST_CASE("a compressed grain must be where its header says, and of a size that can be") {
    CHECK(check_stream(stream().put64(second_grain, 16)).faults ==
          Lines{"/vm/a 2048 grain: grain 3 is stored as that of sector 16, expected 24"});
    CHECK(check_stream(stream().put32(second_grain + 8, 8193)).faults.front() ==
          "/vm/a 2048 grain: grain 3 has 8193 compressed bytes, more than any grain of 4096");
    CHECK(check_stream(stream().put32(stream_table + 12, 6)).faults ==
          Lines{"/vm/a 3072 grain: grain 3 has no data",
                "/vm/a 2048 stream: a grain for byte 12288 of the extent, which no table refers to"});
    CHECK(check_stream(stream().put32(stream_table + 4, 2)).faults ==
          Lines{"/vm/a 1024 grain: grain 1 is stored as that of sector 0, expected 8",
                "/vm/a 1024 overlap: 1024 bytes belong to grain 0 and to grain 1"});
}

TEST_CASE("a compressed grain that the file's end cuts is a fault; padding that it cuts is not") {
    // The directory in front, no markers.
    Blob file = stream().put64(56, 1).put32(512, 0).resize(second_grain);
    file.put64(64, 3).put64(56, 1).put32(512, 2).put32(2 * 512, 3).put64(2 * 512 + 4, 0);
    file.put64(3 * 512, 0).put32(3 * 512 + 8, 1000);
    CHECK(check_stream(Blob(file).resize(3 * 512 + 1012)).faults == Lines{});
    CHECK(check_stream(Blob(file).resize(3 * 512 + 1011)).faults ==
          Lines{"/vm/a 1536 grain: grain 0 is cut by the end of the file"});
}

TEST_CASE("markers must fit what the tables say") {
    CHECK(check_stream(stream().put32(stream_table, 0)).faults ==
          Lines{"/vm/a 1024 stream: a grain for byte 0 of the extent, which no table refers to"});
    CHECK(check_stream(stream().put32(table_marker + 12, 9)).faults ==
          Lines{"/vm/a 3072 stream: a marker of unknown type 9; the stream is not followed further"});
    CHECK(check_stream(stream().put32(table_marker + 12, 2)).faults ==
          Lines{"/vm/a 3072 stream: a marker of a grain directory that nothing refers to"});
    CHECK(check_stream(stream().put64(directory_marker, 2)).faults ==
          Lines{"/vm/a 4096 stream: the marker of the grain directory says 2 sectors, expected 1"});
    CHECK(check_stream(stream().put32(directory_marker + 12, 0).put64(directory_marker, 0)).faults ==
          Lines{"/vm/a 4096 stream: the end-of-stream marker comes before what the tables refer to"});
    CHECK(check_stream(stream().put32(9 * 512, 0)).faults ==
          Lines{"/vm/a 1024 stream: a grain for byte 0 of the extent, which no table refers to",
                "/vm/a 2048 stream: a grain for byte 12288 of the extent, which no table refers to",
                "/vm/a 3072 stream: a marker of a grain table that nothing refers to"});
}

TEST_CASE("a footer must say what the header does") {
    CHECK(check_stream(stream().put64(56, 9).put64(footer + 12, 31)).faults ==
          Lines{"/vm/a 5632 stream: header and footer differ"});
    CHECK(check_stream(stream().put64(56, 9).put64(footer + 56, 7)).faults ==
          Lines{"/vm/a 5632 stream: header and footer differ"});
    CHECK(check_stream(stream().put64(56, 9).put32(footer, 0)).faults ==
          Lines{"/vm/a 5632 stream: the footer is damaged"});
    CHECK(check_stream(stream().put64(56, 9).resize(end_of_stream)).faults ==
          Lines{"/vm/a 6144 stream: the end-of-stream marker is missing"});
    CHECK(check_stream(stream().put64(footer + 64, 1)).notes ==
          Lines{"/vm/a 5632 stream: header and footer differ in where the descriptor or the grains are"});
    CHECK(
        check_stream(stream().resize(end_of_stream)).faults ==
        Lines{"/vm/a 0 header: cut short: the file does not end with a footer and an end-of-stream marker"});
}

TEST_CASE("a stream may end inside a sector, with its last grain") {
    // The directory stands in front, as qemu writes it; the grain has 280 bytes.
    Blob file(10);
    file.put_text(0, "KDMV").put32(4, 3).put32(8, 0x30001).put64(12, 64).put64(20, 8).put32(44, 4);
    file.put64(56, 1).put64(64, 8).put_text(73, "\n \r\n").put16(77, 1);
    file.put32(512, 2).put32(516, 3).put32(2 * 512, 8).put32(8 * 512 + 8, 268).resize(8 * 512 + 280);
    CHECK(check_stream(file).faults == Lines{});
    CHECK(check_stream(file.resize(8 * 512 + 279)).faults ==
          Lines{"/vm/a 4096 grain: grain 0 is cut by the end of the file"});
}

// ESX extents.

// 4096 sectors in grains of 1 and one table, in sectors 5 to 36; grain 0 is in 37.
Blob cowd() {
    Blob file(40);
    file.put_text(0, "COWD").put32(4, 1).put32(8, 3).put32(12, 4096).put32(16, 1).put32(20, 4).put32(24, 1);
    return file.put32(28, 40).put32(4 * 512, 5).put32(5 * 512, 37);
}

Verdict check_cowd(const Blob& file) { return check_extent("RW 4096 VMFSSPARSE \"a\"", file); }

TEST_CASE("an ESX sparse extent's grains, tables and end are checked") {
    CHECK(check_cowd(cowd()).faults == Lines{});
    CHECK(check_cowd(cowd()).notes == Lines{});
    CHECK(check_cowd(cowd().put32(28, 41)).faults ==
          Lines{"/vm/a 28 truncated: the file is cut short: it has 20480 bytes, its header says 20992"});
    CHECK(check_cowd(cowd().put32(5 * 512 + 4, 40).put32(5 * 512 + 8, 3).put32(5 * 512 + 12, 36)).faults ==
          Lines{"/vm/a 2564 grain: grain 1 lies in sector 40, beyond the end of the file",
                "/vm/a 2568 grain: grain 2 lies in sector 3, inside the metadata",
                "/vm/a 18432 overlap: 512 bytes belong to grain table 0 and to grain 3"});
    CHECK(check_cowd(cowd().put32(4 * 512, 9)).faults ==
          Lines{"/vm/a 2048 directory: grain table 0 lies in sector 9, not inside the file"});
    CHECK(check_cowd(cowd().put32(4 * 512, 4)).faults ==
          Lines{"/vm/a 2048 directory: grain table 0 lies in sector 4, inside the metadata"});
    CHECK(check_cowd(cowd().put32(24, 0)).faults ==
          Lines{"/vm/a 0 header: the grain directory has 0 entries, expected 1"});
    CHECK(check_cowd(cowd().put32(1648, 1).put32(5 * 512 + 4, 1).put32(5 * 512 + 8, 39)).notes ==
          Lines{"/vm/a 1648 journal: the file was not closed cleanly",
                "/vm/a 2048 grain: 1 grains are marked 1, which is read as zeros",
                "/vm/a 19456 unused: 512 bytes between the grains belong to no table: orphaned grains, if "
                "anything"});
}

// 32768 sectors and one table. Sector 1: volatile header, 2: directory, 3 to 66: table, grains from 67 on.
Blob se_sparse() {
    Blob file(67 + 16);
    file.put64(0, 0xcafebabe).put64(8, 0x0000000200000001).put64(16, 32768).put64(24, 8).put64(32, 64);
    file.put64(80, 1).put64(88, 1).put64(128, 2).put64(136, 1).put64(144, 3).put64(152, 64);
    file.put64(192, 67).put64(200, 16).put64(512, 0xcafecafe);
    return file.put64(2 * 512, std::uint64_t{0x10000000} << 32).put64(3 * 512, std::uint64_t{3} << 60);
}

Verdict check_se_sparse(const Blob& file) { return check_extent("RW 32768 SESPARSE \"a\"", file); }

TEST_CASE("an seSparse extent's journal, tables and grains are checked") {
    CHECK(check_se_sparse(se_sparse()).faults == Lines{});
    CHECK(check_se_sparse(se_sparse()).notes == Lines{});
    const std::vector<std::string> journal = check_se_sparse(se_sparse().put64(512 + 24, 1)).faults;
    REQUIRE(journal.size() == 1);
    CHECK(journal.front().starts_with("/vm/a 512 journal: its journal holds changes"));
    constexpr std::uint64_t stored = std::uint64_t{3} << 60;
    constexpr std::uint64_t one = std::uint64_t{1} << 48;
    CHECK(check_se_sparse(se_sparse()
                              .put64(3 * 512 + 8, 7)
                              .put64(3 * 512 + 16, stored)
                              .put64(3 * 512 + 24, stored + 2 * one))
              .faults == Lines{"/vm/a 1544 grain: the entry of grain 1 is damaged",
                               "/vm/a 1560 grain: grain 3 is number 2 of the file, which has room for 2",
                               "/vm/a 34304 overlap: 4096 bytes belong to grain 0 and to grain 2"});
    CHECK(check_se_sparse(se_sparse().put64(3 * 512 + 8, stored + one).resize(80 * 512)).faults ==
          Lines{"/vm/a 1544 grain: grain 1 lies in sector 75, and the file ends inside it"});
    CHECK(check_se_sparse(se_sparse().put64(2 * 512, 1)).faults ==
          Lines{"/vm/a 1024 directory: the entry of grain table 0 is damaged"});
}

}  // namespace
}  // namespace vmdkdm
