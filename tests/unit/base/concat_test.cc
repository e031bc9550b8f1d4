#include "base/concat.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>

namespace vmdkdm {
namespace {

TEST_CASE("text is made of strings, characters and numbers as they are") {
    const std::string text = "b";
    const char* const pointer = "d";
    CHECK(concat("a", text, std::string_view("c"), pointer, 'e') == "abcde");
    CHECK(concat() == "");
    CHECK(concat(0, " ", -1, " ", std::numeric_limits<std::uint64_t>::max(), " ",
                 std::numeric_limits<std::int64_t>::min()) ==
          "0 -1 18446744073709551615 -9223372036854775808");
}

TEST_CASE("what is neither prints as a stream prints it") {
    CHECK(concat(1.5, " ", true, " ", static_cast<unsigned char>('x')) == "1.5 1 x");
}

TEST_CASE("parts are added to the end of a text") {
    std::string text = "a";
    append_parts(text, 1, 'b');
    CHECK(text == "a1b");
}

}  // namespace
}  // namespace vmdkdm
