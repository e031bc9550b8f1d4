#include "cli/output.h"

#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>

#include "cli/printer.h"

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

TEST_CASE("a literal is printed as it stands, and everything else escaped, its line ends too") {
    const std::string name = "a\n\x1b[2J";
    CHECK(printed_by([&] {
              out() << "\x1b[K" << name << "\n" << name.c_str() << " " << 12 << std::size_t{3};
          }) == "\x1b[Ka\\x0a\\x1b[2J\na\\x0a\\x1b[2J 123");
    CHECK(printed_by([&] { out().lines("one\n" + name) << "\n"; }) == "one\na\n\\x1b[2J\n");
    CHECK(printed_by([&] {
              using enum TextTable::Align;
              TextTable table({{"NAME", left}, {"SIZE", right}});
              table.add({name, "1"});
              table.print();
          }) == "NAME          SIZE\na\\x0a\\x1b[2J     1\n");
    CHECK(printed_by([&] {
              print_json({{name, name}});
          }) == "{\n  \"a\\n\\u001b[2J\": \"a\\n\\u001b[2J\"\n}\n");
}

TEST_CASE("an error is one line, unless it has lines of its own") {
    const auto told = [](const Error& error) {
        std::ostringstream captured;
        std::streambuf* const previous = std::cerr.rdbuf(captured.rdbuf());
        print_error(error);
        std::cerr.rdbuf(previous);
        return captured.str();
    };
    CHECK(told(Error(ErrorKind::format, "'a\nb' is wrong")) == "vmdk-dm: 'a\\x0ab' is wrong\n");
    CHECK(told(Error(ErrorKind::format, "choose from 'a\nb':", {"x\ny", "z"}).within("c\nd")) ==
          "vmdk-dm: c\\x0ad: choose from 'a\\x0ab':\nx\\x0ay\nz\n");
    CHECK(told(TextError("a:1:1: x\ny\n^")) == "a:1:1: x\ny\n^\n");
}

TEST_CASE("JSON keeps the order of its keys and survives names that are not UTF-8") {
    CHECK(compact_json({{"b", 1}, {"a", "M\xfcller"}}) == "{\"b\":1,\"a\":\"M\xef\xbf\xbdller\"}");
    CHECK(printed_by([] { print_json({{"a", "\x1b"}}); }) == "{\n  \"a\": \"\\u001b\"\n}\n");
}

}  // namespace
}  // namespace vmdkdm
