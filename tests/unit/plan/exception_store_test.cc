#include "plan/exception_store.h"

#include <catch2/catch.hpp>

#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

constexpr Sectors chunk(8);
constexpr std::uint64_t per_area = 4096 / 16;

std::vector<Exception> exceptions(std::uint64_t count) {
    std::vector<Exception> list;
    for (std::uint64_t i = 0; i < count; ++i) list.push_back({count - i, 1000000 + 7 * i});
    return list;
}

ExceptionStore store_of(std::uint64_t count) {
    return {chunk, ExceptionStore::span_of(chunk, count), exceptions(count)};
}

std::vector<std::byte> file_of(const ExceptionStore& store) {
    std::vector<std::byte> file(static_cast<std::size_t>(store.size().count()));
    std::uint64_t written = 0;
    store.write([&](Bytes offset, std::span<const std::byte> bytes) {
        REQUIRE(offset.count() + bytes.size() <= file.size());
        std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<std::ptrdiff_t>(offset.count()));
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
        CHECK(ExceptionStore::parse(file_of(store)) == store);
    }
}

TEST_CASE("header and areas stand where dm-snap-persistent.c looks for them") {
    const std::vector<std::byte> file = file_of(store_of(per_area + 1));
    const auto byte = [&](std::size_t at) { return static_cast<unsigned>(file.at(at)); };
    CHECK(std::string(reinterpret_cast<const char*>(file.data()), 4) == "SnAp");
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
    const std::vector<std::byte> good = file_of(store_of(per_area));
    const auto refusal = [&](std::size_t at, int value, std::size_t size) {
        std::vector<std::byte> bad = good;
        bad.at(at) = static_cast<std::byte>(value);
        bad.resize(size);
        return failure_of([&] { ExceptionStore::parse(bad); }).text;
    };
    CHECK(refusal(0, 'X', good.size()) == "not an exception store");
    CHECK(refusal(0, 'S', 15) == "not an exception store");
    CHECK(refusal(4, 0, good.size()) == "the exception store is invalid");
    CHECK(refusal(8, 2, good.size()) == "the exception store is of an unknown version");
    CHECK(refusal(12, 7, good.size()) == "an exception store cannot have chunks of 7 sectors");
    CHECK(refusal(0, 'S', good.size() - 1) == "the exception store ends inside its list");
}

TEST_CASE("a store does not reach into the data") {
    CHECK(failure_of([] { ExceptionStore(chunk, 1, {}); }) ==
          Failure{ErrorKind::format, "an exception store does not fit into its span"});
}

}  // namespace
}  // namespace vmdkdm
