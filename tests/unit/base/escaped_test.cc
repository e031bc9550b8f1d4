#include "base/escaped.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <random>

namespace vmdkdm {
namespace {

std::string utf8(char32_t code) {
    std::string text;
    const auto add = [&text](char32_t byte) { text += static_cast<char>(byte); };
    if (code < 0x80) {
        add(code);
    } else if (code < 0x800) {
        add(0xc0 | code >> 6);
        add(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        add(0xe0 | code >> 12);
        add(0x80 | (code >> 6 & 0x3f));
        add(0x80 | (code & 0x3f));
    } else {
        add(0xf0 | code >> 18);
        add(0x80 | (code >> 12 & 0x3f));
        add(0x80 | (code >> 6 & 0x3f));
        add(0x80 | (code & 0x3f));
    }
    return text;
}

// What may stand in none of our outputs, as it is said in the standards and not as escaped.cc has it.
bool is_dangerous(char32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) ||       // C0, DEL, C1
           code == 0x61c || code == 0x200e || code == 0x200f ||  // ALM, LRM, RLM
           (code >= 0x202a && code <= 0x202e) ||                 // LRE, RLE, PDF, LRO, RLO
           (code >= 0x2066 && code <= 0x2069) ||                 // LRI, RLI, FSI, PDI
           code == 0x2028 || code == 0x2029 || (code >= 0xd800 && code < 0xe000);
}

TEST_CASE("no character that does something to a terminal stays, and harmless names do") {
    for (char32_t code = 0; code < 0x110000; ++code) {
        const std::string character = utf8(code);
        const bool stays = escaped("a" + character + "b") == "a" + character + "b";
        if (is_dangerous(code) && stays) FAIL("U+" << std::hex << static_cast<std::uint32_t>(code));
        if (shown_size(character + "b") != (stays ? character.size() : 0))
            FAIL("size of U+" << std::hex << static_cast<std::uint32_t>(code));
        if (code != '\n' && code != '\t' && (escaped_json(character) == character) != stays)
            FAIL("JSON with U+" << std::hex << static_cast<std::uint32_t>(code));
    }
    for (const std::string_view stays : {"plain", "M\xc3\xbcller \xe2\x82\xac \xf0\x9f\x98\x80",
                                         "C:\\VMs\\a.vmdk", "\\x1b", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"})
        CHECK(escaped(stays) == stays);
}

TEST_CASE("what is escaped is shown byte by byte, and once only") {
    CHECK(escaped("a\033[31m\n\t\x7f") == "a\\x1b[31m\\x0a\\x09\\x7f");
    CHECK(escaped(std::string_view("\0", 1)) == "\\x00");
    CHECK(escaped("\xc2\x9b\xff\xc0\xaf") == "\\xc2\\x9b\\xff\\xc0\\xaf");
    CHECK(escaped("\xe2\x80\xae\xe2\x81\xa6") == "\\xe2\\x80\\xae\\xe2\\x81\\xa6");
    CHECK(escaped("\xe2\x82") == "\\xe2\\x82");
    CHECK(escaped("\xed\xa0\x80\xf4\x90\x80\x80\xe0\x80\x80") ==
          "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80\\xe0\\x80\\x80");
    const std::string once = escaped("\033\xc2\x9b\\");
    CHECK(escaped(once) == once);
}

TEST_CASE("a text of lines keeps its line ends and tabs, and no return") {
    CHECK(escaped_lines("one\r\ntwo\x1b\n\tthree") == "one\ntwo\\x1b\n\tthree");
    CHECK(escaped_lines("over\rwritten\r") == "over\\x0dwritten\\x0d");
}

TEST_CASE("JSON has it in its own notation") {
    CHECK(escaped_json("{\n  \"a\": \"\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x80\x81 M\xc3\xbcller\"\n}") ==
          "{\n  \"a\": \"\\u007f\\u009b\\u202e\\udb40\\udc01 M\xc3\xbcller\"\n}");
    CHECK(escaped_json("\"\xff\"") == "\"\\ufffd\"");
}

TEST_CASE("a text in pieces is escaped as a whole one is") {
    std::mt19937 random(4711);
    const std::string_view bytes = "\x1b\r\n\t a\x7f\xc2\x9b\xe2\x82\xac\xf0\x9f\x98\x80\xff\x80\xae";
    for (int round = 0; round < 2000; ++round) {
        std::string whole;
        LineEscaper escaper;
        std::string shown;
        for (auto pieces = random() % 8; pieces > 0; --pieces) {
            std::string piece;
            for (auto size = random() % 5; size > 0; --size) piece += bytes[random() % bytes.size()];
            whole += piece;
            shown += escaper.more(piece);
        }
        shown += escaper.rest();
        REQUIRE(shown == escaped_lines(whole));
    }
}

TEST_CASE("what is harmless at the front of a piece does not wait for the next") {
    LineEscaper escaper;
    CHECK(escaper.more("password: ") == "password: ");
    CHECK(escaper.more("\xe2\x82").empty());
    CHECK(escaper.more("\xac") == "\xe2\x82\xac");
    CHECK(escaper.rest().empty());
}

}  // namespace
}  // namespace vmdkdm
