#include "base/error.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "base/concat.h"
#include "base/little_endian.h"
#include "base/unique_fd.h"
#include "support/failure.h"

#include <fcntl.h>

#include <array>

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("the kind of a system error follows its number") {
    const auto failure = [](int number) {
        const Error error = system_error("opening", number);
        return Failure{error.kind(), error.what()};
    };
    CHECK(failure(ENOENT) == Failure{ErrorKind::not_found, "opening: No such file or directory"});
    CHECK(failure(ENOTDIR) == Failure{ErrorKind::not_found, "opening: Not a directory"});
    CHECK(failure(EBUSY) == Failure{ErrorKind::busy, "opening: Device or resource busy"});
    CHECK(failure_of([] { throw system_error("", ENOENT); }).text == "No such file or directory");
    CHECK(failure(EACCES) == Failure{ErrorKind::system, "opening: Permission denied"});
}

TEST_CASE("context is put in front of an error, and its kind stays") {
    const Failure failure = failure_of([] {
        with_context("cannot attach 'web.vmdk'", [] {
            with_context("extent 2", [] { throw Error(ErrorKind::refused, "it lies elsewhere"); });
        });
    });
    CHECK(failure == Failure{ErrorKind::refused, "cannot attach 'web.vmdk': extent 2: it lies elsewhere"});
}

TEST_CASE("a text error says by itself where it is, so it stays as it was and stays a text error") {
    const auto body = [] {
        with_context("cannot open 'a.vmdk'", [] { throw TextError("a.vmdk:1:1: bad"); });
    };
    CHECK_THROWS_AS(body(), TextError);
    CHECK(failure_of(body) == Failure{ErrorKind::format, "a.vmdk:1:1: bad"});
}

TEST_CASE("with_context hands on what its body returns") {
    CHECK(with_context("adding", [] { return 2 + 2; }) == 4);
    std::string text = "kept";
    std::string& same = with_context("naming", [&]() -> std::string& { return text; });
    CHECK(&same == &text);
}

TEST_CASE("numbers are little-endian whatever their place") {
    constexpr std::array<std::byte, 9> bytes = {std::byte{0xff}, std::byte{0x4b}, std::byte{0x44},
                                                std::byte{0x4d}, std::byte{0x56}, std::byte{0x01},
                                                std::byte{0x00}, std::byte{0x00}, std::byte{0x80}};
    CHECK(load_le32(bytes, 1) == 0x564d444b);
    CHECK(load_le64(bytes, 1) == 0x80000001564d444bULL);
}

TEST_CASE("a descriptor has one owner") {
    UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    REQUIRE(first);
    const int number = first.get();
    UniqueFd second(std::move(first));
    CHECK(second.get() == number);
    CHECK_FALSE(first);  // NOLINT: empty after a move, by contract
    second = UniqueFd();
    CHECK(::fcntl(number, F_GETFD) == -1);
}

}  // namespace
}  // namespace vmdkdm
