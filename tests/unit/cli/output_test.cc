#include "cli/output.h"

#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>

namespace vmdkdm {
namespace {

// What `body` prints on stdout.
template <class Body>
std::string printed_by(Body&& body) {
    std::ostringstream captured;
    std::streambuf* const previous = std::cout.rdbuf(captured.rdbuf());
    body();
    std::cout.rdbuf(previous);
    return captured.str();
}

TEST_CASE("sizes are shown in the largest unit that fits") {
    CHECK(human_size(Bytes(0)) == "0 bytes");
    CHECK(human_size(Bytes(1023)) == "1023 bytes");
    CHECK(human_size(Bytes(1024)) == "1.0 KiB");
    CHECK(human_size(Bytes(1536)) == "1.5 KiB");
    CHECK(human_size(Bytes(std::uint64_t{42949672960})) == "40.0 GiB");
    CHECK(human_size(to_bytes(max_capacity)) == "8192.0 PiB");
}

TEST_CASE("a table is as wide as its widest cells, counted in characters, without blanks at line ends") {
    using enum TextTable::Align;
    const std::string text = printed_by([] {
        TextTable table({{"START", right}, {"FILE", left}, {"KIND", left}});
        table.add({"0", "M\xc3\xbcller", "data"});
        table.add({"1048576", "a", ""});
        table.print(2);
    });
    CHECK(text ==
          "    START  FILE    KIND\n"
          "        0  M\xc3\xbcller  data\n"
          "  1048576  a\n");
}

TEST_CASE("JSON keeps the order of its keys and survives names that are not UTF-8") {
    CHECK(compact_json({{"b", 1}, {"a", "M\xfcller"}}) == "{\"b\":1,\"a\":\"M\xef\xbf\xbdller\"}");
    CHECK(printed_by([] { print_json({{"a", "\x1b"}}); }) == "{\n  \"a\": \"\\u001b\"\n}\n");
}

}  // namespace
}  // namespace vmdkdm
