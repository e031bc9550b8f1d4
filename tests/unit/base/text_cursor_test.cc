#include "base/text_cursor.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "base/error.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

const std::string file = "f";

TEST_CASE("words end at blanks, quoted texts at the next quote; the blanks after them are skipped") {
    TextCursor cursor(file, 1, "RW\t 8 \"a b\"  rest \r");
    CHECK(cursor.take_word() == "RW");
    CHECK(cursor.take_word() == "8");
    CHECK(cursor.peek() == '"');
    CHECK(cursor.take_quoted() == "a b");
    CHECK(cursor.rest() == "rest \r");
    CHECK(cursor.take_word() == "rest");
    CHECK(cursor.at_end());
    CHECK(cursor.take_word().empty());
    CHECK(TextCursor(file, 1, "\"open").take_quoted() == std::nullopt);
}

TEST_CASE("a place beyond the end of the line is the end of the line") {
    const TextCursor cursor(file, 7, "ab");
    CHECK(cursor.advanced(100).at_end());
    CHECK(cursor.advanced(100).position().column == 3);
    CHECK(cursor.position().line == 7);
}

TEST_CASE("comparison ignores the case of ASCII letters only") {
    CHECK(equal_ignoring_case("CreateType", "createTYPE"));
    CHECK_FALSE(equal_ignoring_case("createType", "createTyp"));
    CHECK_FALSE(equal_ignoring_case("\xc3\xa4", "\xc3\x84"));
    CHECK(starts_with_ignoring_case("DDB.x", "ddb."));
    CHECK_FALSE(starts_with_ignoring_case("dd", "ddb."));
}

TEST_CASE("trimming takes blanks, tabs and CRs from both ends") {
    CHECK(trim(" \t a b \r") == "a b");
    CHECK(trim(" \r\t").empty());
    CHECK(trim("").empty());
}

TEST_CASE("what is printed has no control characters and a bounded length") {
    CHECK(printable("a\x1b[2Jb\x7f") == "a\\x1b[2Jb\\x7f");
    CHECK(printable(std::string(100, 'x')) == std::string(100, 'x'));
    CHECK(printable(std::string(101, 'x')) == std::string(100, 'x') + "...");
    CHECK(printable(std::string(99, 'x') + "\xc3\xa4") == std::string(99, 'x') + "...");
}

TEST_CASE(
    "what a fault in a text shows is escaped, the caret stands below its place, and no line is forged") {
    const std::string odd = "a\n\x1b.vmdk";
    try {
        TextCursor(odd, 1, "\t\x1b[2J\xc3\xa4 x").advanced(8).fail("unknown '\n'");
    } catch (const TextError& error) {
        CHECK(error.has_lines());
        CHECK(error.what() ==
              std::string("a\\x0a\\x1b.vmdk:1:8: unknown '\\x0a'\n\t\\x1b[2J\xc3\xa4 x\n\t         ^"));
    }
    const std::string long_line = std::string(59, ' ') + "\xc3\xa4" + std::string(60, 'a') +
                                  "\xc3\xa4\xc3\xa4" + std::string(94, 'b') + "\xc3\xa4";
    try {
        TextCursor(file, 1, long_line).advanced(120).fail("x");
    } catch (const TextError& error) {
        CHECK(error.what() == concat(file, ":1:120: x\n\xc3\xa4", std::string(60, 'a'), "\xc3\xa4\xc3\xa4",
                                     std::string(94, 'b'), "\n", std::string(60, ' '), "^"));
    }
}

}  // namespace
}  // namespace vmdkdm
