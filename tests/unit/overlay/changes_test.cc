#include "overlay/changes.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"
#include "support/show_map.h"
#include "support/stores.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::file_with_store;
using test::show;

constexpr Bytes start(1 << 20);  // sector 2048
constexpr Sectors chunk(8);
constexpr std::uint64_t per_area = 256;
constexpr Bytes file_size(4 << 20);  // 768 chunks

struct Read {
    std::string shown;
    std::vector<std::string> notes;
    std::uint64_t chunks = 0;
    Bytes used;
    std::vector<std::string> faults;
};

Read changes_of(const std::vector<Exception>& exceptions, Sectors capacity) {
    Read read;
    const Changes changes = read_changes(file_with_store("/o", start, chunk, exceptions, file_size), start,
                                         file_size - start, capacity, read.notes);
    CHECK(changes.layer.capacity() == capacity);
    CHECK(changes.valid);
    CHECK(changes.chunk == chunk);
    read.shown = show(changes.layer);
    read.chunks = changes.chunk_count;
    read.used = changes.used;
    for (const ChunkFault& fault : changes.faults)
        read.faults.push_back(concat(fault.start.count(), "+", fault.length.count(), " ", fault.why));
    return read;
}

TEST_CASE("changed chunks are read from the overlay, neighbours as one run, the rest from below") {
    const Read read = changes_of({{10, 4}, {2, 2}, {3, 3}, {11, 5}, {12, 9}}, Sectors(800));
    CHECK(read.shown ==
          "0+16 unallocated\n"
          "16+16 data /o@2064\n"
          "32+48 unallocated\n"
          "80+16 data /o@2080\n"
          "96+8 data /o@2120\n"
          "104+696 unallocated\n");
    CHECK(read.notes.empty());
    CHECK(read.chunks == 5);
    CHECK(read.used == Bytes(10 * 4096));
    CHECK(read.faults.empty());
}

TEST_CASE("the last chunk ends with the disk") {
    CHECK(changes_of({{1, 2}}, Sectors(11)).shown == "0+8 unallocated\n8+3 data /o@2064\n");
}

TEST_CASE("an overlay that nothing was written to changes nothing") {
    CHECK(changes_of({}, Sectors(11)).shown == "0+11 unallocated\n");
    std::vector<std::string> notes;
    const auto zeros = std::make_shared<test::MemoryFile>("/o", FileIdentity{}, "", file_size);
    const Changes changes = read_changes(zeros, start, file_size - start, Sectors(11), notes);
    CHECK(show(changes.layer) == "0+11 unallocated\n");
    CHECK((changes.chunk == Sectors(0) && changes.used == Bytes(0) && changes.valid));
}

TEST_CASE("a list of several areas is read to its end") {
    std::vector<Exception> list;
    for (std::uint64_t i = 0; i < 600; ++i) list.push_back({600 - i, 2 + i + (i + 1) / per_area});
    std::vector<std::string> notes;
    const Changes changes = read_changes(file_with_store("/o", start, chunk, list, file_size), start,
                                         file_size - start, Sectors(8000), notes);
    CHECK(changes.chunk_count == 600);
    CHECK(notes.empty());
}

TEST_CASE("changed chunks beyond the file or in the tables are unreadable") {
    const Read read = changes_of({{0, 767}, {1, 768}, {2, 1}, {3, 258}}, Sectors(32));
    CHECK(read.shown ==
          "0+8 data /o@8184\n"
          "8+8 unreadable: '/o': a changed chunk lies beyond the end of the overlay\n"
          "16+16 unreadable: '/o': a changed chunk lies in the tables of the overlay\n");
    CHECK(read.faults == std::vector<std::string>{"8+8 a changed chunk lies beyond the end of the overlay",
                                                  "16+16 a changed chunk lies in the tables of the overlay"});
}

TEST_CASE("changed chunks on one place are unreadable, wherever they are listed") {
    const std::string why = "several changed chunks lie on one place of the overlay";
    const Read read = changes_of({{0, 2}, {1, 3}, {900, 4}, {7, 2}, {8, 5}, {9, 4}}, Sectors(80));
    CHECK(read.shown == concat("0+8 unreadable: '/o': ", why,
                               "\n"
                               "8+8 data /o@2072\n"
                               "16+40 unallocated\n"
                               "56+8 unreadable: '/o': ",
                               why,
                               "\n"
                               "64+8 data /o@2088\n"
                               "72+8 unreadable: '/o': ",
                               why, "\n"));
    CHECK(read.faults == std::vector<std::string>{"0+8 " + why, "56+8 " + why, "72+8 " + why});
}

TEST_CASE("chunks beyond the disk are passed over, and said to be there") {
    const Read read = changes_of({{0, 2}, {4, 3}, {0xffffffffffffffff, 4}}, Sectors(30));
    CHECK(read.shown == "0+8 data /o@2064\n8+22 unallocated\n");
    CHECK(read.notes == std::vector<std::string>{"'/o' lists chunks twice or beyond the end of the disk"});
    CHECK(read.chunks == 1);
}

TEST_CASE("a chunk that is listed twice is where the kernel finds it") {
    // The first one, unless a later one goes on from a neighbour.
    CHECK(changes_of({{1, 20}, {1, 30}}, Sectors(24)).shown ==
          "0+8 unallocated\n8+8 data /o@2208\n16+8 unallocated\n");
    CHECK(changes_of({{0, 10}, {1, 20}, {1, 11}}, Sectors(24)).shown ==
          "0+16 data /o@2128\n16+8 unallocated\n");
    CHECK(changes_of({{2, 32}, {1, 20}, {1, 31}}, Sectors(24)).shown ==
          "0+8 unallocated\n8+8 data /o@2208\n16+8 data /o@2304\n");
    const Read read = changes_of({{1, 20}, {1, 30}, {2, 40}}, Sectors(24));
    CHECK(read.notes.size() == 1);
    // After more writes it may be found elsewhere.
    CHECK(read.faults == std::vector<std::string>{"8+8 the overlay lists a changed chunk twice"});
    CHECK(changes_of({{1, 20}, {1, 20}}, Sectors(24)).shown ==
          "0+8 unallocated\n8+8 data /o@2208\n16+8 unallocated\n");
}

TEST_CASE("chunks that are listed thousands of times are refused") {
    const std::vector<Exception> list(5000, Exception{3, 2});
    std::vector<std::string> notes;
    CHECK(failure_of([&] {
              read_changes(file_with_store("/o", start, chunk, list, Bytes(32 << 20)), start, Bytes(31 << 20),
                           Sectors(80000), notes);
          }) == Failure{ErrorKind::format,
                        "'/o': the exception store is damaged: it lists chunk 3 or its "
                        "neighbours 5000 times"});
}

TEST_CASE("what is no store is refused by the name of its file") {
    std::vector<std::string> notes;
    const auto text =
        std::make_shared<test::MemoryFile>("/o", FileIdentity{}, std::string(2 << 20, 'x'), Bytes(2 << 20));
    CHECK(failure_of([&] { read_changes(text, start, Bytes(1 << 20), Sectors(8), notes); }) ==
          Failure{ErrorKind::format, "'/o': not an exception store"});
}

}  // namespace
}  // namespace vmdkdm
