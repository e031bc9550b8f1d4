#include "plan/exception_store.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "support/failure.h"
#include "support/memory_files.h"
#include "support/stores.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

constexpr Sectors chunk(8);
constexpr std::uint64_t per_area = 4096 / 16;

// As they are listed: from the end on.
std::vector<Exception> exceptions(std::uint64_t count, std::uint64_t span) {
    std::vector<Exception> list;
    for (std::uint64_t i = 0; i < count; ++i) list.push_back({count - i, span + 1000000 + 7 * i});
    return list;
}

ExceptionStore store_of(std::uint64_t count) {
    ExceptionList list;
    for (std::uint64_t i = count; i-- > 0;) list.add({count - i, 1000000 + 7 * i}, 1);
    return {chunk, ExceptionStore::span_of(chunk, count), std::move(list)};
}

FoundStore found_in(const std::string& bytes) {
    const test::MemoryFile file("/cow", {}, bytes, Bytes(bytes.size()));
    return read_exception_store({&file, Bytes(0), file.size()}).value();
}

std::string file_of(const ExceptionStore& store) {
    std::string file(static_cast<std::size_t>(store.size().count()), '\0');
    std::uint64_t written = 0;
    store.write([&](Bytes offset, std::span<const std::byte> bytes) {
        REQUIRE(offset.count() + bytes.size() <= file.size());
        std::memcpy(file.data() + offset.count(), bytes.data(), bytes.size());
        written += bytes.size();
    });
    CHECK(store.written_size() == Bytes(written));
    return file;
}

TEST_CASE("what is written is what the kernel reads") {
    for (const std::uint64_t count :
         {std::uint64_t{0}, std::uint64_t{1}, per_area - 1, per_area, per_area + 1, 3 * per_area}) {
        const ExceptionStore store = store_of(count);
        INFO(count << " exceptions");
        const FoundStore found = found_in(file_of(store));
        CHECK(found.chunk == store.chunk());
        CHECK(found.exceptions == exceptions(count, ExceptionStore::span_of(chunk, count)));
        CHECK(store.count() == count);
        CHECK(found.valid);
    }
}

TEST_CASE("header and areas stand where dm-snap-persistent.c looks for them") {
    const std::string file = file_of(store_of(per_area + 1));
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(file.at(at)); };
    CHECK(file.substr(0, 4) == "SnAp");
    CHECK((byte(4) == 1 && byte(8) == 1 && byte(12) == 8));
    // The first area is chunk 1; the next comes after room for as many chunks of data as it has exceptions.
    CHECK(byte(4096) == 1);  // old chunk 257 = 0x101
    CHECK(byte(4096 + 1) == 1);
    const std::size_t second = 4096 * (1 + per_area + 1);
    CHECK(file.size() == second + 4096);
    CHECK(byte(second) == 1);       // old chunk 1
    CHECK(byte(second + 16) == 0);  // the end of the list
}

TEST_CASE("a full area is followed by an empty one") {
    CHECK(ExceptionStore::span_of(chunk, per_area - 1) == 2);
    CHECK(ExceptionStore::span_of(chunk, per_area) == 2 + per_area + 1);
}

TEST_CASE("what the kernel would refuse is refused") {
    const std::string good = file_of(store_of(per_area));
    const auto refusal = [&](std::size_t at, int value, std::size_t size) {
        std::string bad = good;
        bad.at(at) = static_cast<char>(value);
        bad.resize(size);
        return failure_of([&] { found_in(bad); }).text;
    };
    CHECK(refusal(0, 'X', good.size()) == "not an exception store");
    CHECK(refusal(0, 'S', 15) == "not an exception store");
    CHECK(refusal(8, 2, good.size()) == "the exception store is of an unknown version");
    CHECK(refusal(12, 7, good.size()) == "an exception store cannot have chunks of 7 sectors");
    CHECK(refusal(0, 'S', good.size() - 1) == "the exception store ends inside its list");
}

TEST_CASE("a chunk of the largest size is read in pieces, and a larger one refused") {
    std::string big = test::store_file(Sectors(4096), exceptions(20000, 2));
    CHECK(found_in(big).exceptions == exceptions(20000, 2));
    big.at(12) = '\0';
    big.at(13) = '\0';
    big.at(14) = '\x40';
    CHECK(failure_of([&] { found_in(big); }).text ==
          "an exception store cannot have chunks of 4194304 sectors");
}

TEST_CASE("a snapshot that the kernel gave up can be read") {
    std::string bytes = file_of(store_of(3));
    bytes.at(4) = '\0';
    CHECK_FALSE(found_in(bytes).valid);
    CHECK(found_in(bytes).exceptions.size() == 3);
}

TEST_CASE("zeros are a store that was never begun") {
    const test::MemoryFile zeros("/cow", {}, "", Bytes(1 << 20));
    CHECK_FALSE(read_exception_store({&zeros, Bytes(4096), Bytes(1 << 19)}));
}

TEST_CASE("a store begins anywhere in a file, and its next chunk is the kernel's") {
    const std::string bytes = test::store_file(chunk, {{5, 2}, {6, per_area + 1}});
    const std::string text = std::string(8192, 'x') + bytes;
    const Bytes size(text.size());
    const test::MemoryFile file("/cow", {}, text, size);
    const FoundStore found = read_exception_store({&file, Bytes(8192), size - Bytes(8192)}).value();
    CHECK(found.exceptions == std::vector<Exception>{{5, 2}, {6, per_area + 1}});
    // Chunk per_area + 2 is where the next area goes.
    CHECK(found.next_free == per_area + 3);
    CHECK((is_metadata(chunk, 0) && is_metadata(chunk, 1) && is_metadata(chunk, per_area + 2)));
    CHECK_FALSE((is_metadata(chunk, 2) || is_metadata(chunk, per_area + 1)));
}

TEST_CASE("a store claims no more than the disk has, and no impossible chunk") {
    const auto refusal = [](const std::vector<Exception>& list, Sectors capacity) {
        const std::string bytes = test::store_file(chunk, list);
        const test::MemoryFile file("/cow", {}, bytes, Bytes(bytes.size()));
        return failure_of([&] { read_exception_store({&file, Bytes(0), file.size()}, capacity); }).text;
    };
    CHECK(refusal({{0, 2}, {1, 3}}, Sectors(9)) == "(no error)");
    CHECK(refusal({{0, 2}, {1, 3}}, Sectors(8)) ==
          "the exception store lists more than the 1 chunks of the disk");
    CHECK(refusal({{0, std::uint64_t{1} << 56}}, Sectors(9)) ==
          "the exception store is damaged: there is no chunk 72057594037927936");
}

TEST_CASE("stretches of any length are listed chunk by chunk, from the end on") {
    for (const std::uint64_t length : {1U, 2U, 255U, 256U, 257U, 512U, 700U}) {
        INFO("stretches of " << length);
        ExceptionList list;
        list.add({10, 3}, length);
        list.add({5000, 9000}, length);
        const std::uint64_t span = ExceptionStore::span_of(chunk, list.size()) + 5;
        const FoundStore found = found_in(file_of({chunk, span, std::move(list)}));
        std::vector<Exception> expected;
        for (std::uint64_t i = length; i-- > 0;) expected.push_back({5000 + i, span + 9000 + i});
        for (std::uint64_t i = length; i-- > 0;) expected.push_back({10 + i, span + 3 + i});
        CHECK(found.exceptions == expected);
    }
}

TEST_CASE("a chunk whose number the kernel could not keep is refused, on either side of the sum") {
    ExceptionList list;
    CHECK_THROWS_AS(list.add({0, most_chunks}, 1), UnitOverflow);
    CHECK_THROWS_AS(list.add({0, most_chunks - 2}, 3), UnitOverflow);
    CHECK_THROWS_AS(list.add({0, 1}, ~std::uint64_t{0}), UnitOverflow);
    CHECK(list.empty());
    list.add({0, most_chunks - 1}, 1);
    CHECK_NOTHROW(ExceptionStore(chunk, most_chunks, list));
    CHECK_THROWS_AS(ExceptionStore(chunk, most_chunks + 1, list), UnitOverflow);
}

TEST_CASE("a store does not reach into the data") {
    CHECK(failure_of([] { ExceptionStore(chunk, 1, {}); }) ==
          Failure{ErrorKind::format, "an exception store does not fit into its span"});
}

}  // namespace
}  // namespace vmdkdm
