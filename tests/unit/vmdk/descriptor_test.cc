#include "vmdk/descriptor.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using namespace std::string_literals;

constexpr const char* one_extent = "RW 2048 FLAT \"d-flat.vmdk\" 0\n";

Descriptor parse(const std::string& text) { return parse_descriptor(text, "d.vmdk"); }

// A descriptor whose second line is `line`.
Descriptor parse_line(const std::string& line) { return parse("version=1\n" + line + "\n"); }

Failure failure_of_text(const std::string& text) {
    return failure_of([&] { parse(text); });
}
Failure failure_of_line(const std::string& line) {
    return failure_of([&] { parse_line(line); });
}
// The message for line 2, with the line and the caret below it.
Failure fault(std::size_t column, const std::string& message, const std::string& line) {
    return {ErrorKind::format,
            concat("d.vmdk:2:", column, ": ", message, "\n", line, "\n", std::string(column - 1, ' '), "^")};
}

TEST_CASE("a descriptor as VMware writes it is read whole") {
    const Descriptor d = parse(R"(# Disk DescriptorFile
version=1
encoding="windows-1252"
CID=71485c0
parentCID=ffffffff
createType="twoGbMaxExtentFlat"

# Extent description
RW 4192256 FLAT "web-f001.vmdk" 0
RDONLY 2048 VMFS "web data.vmdk"
NOACCESS 63 ZERO

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders="261"
)");
    CHECK(d.version == 1);
    CHECK(d.encoding == "windows-1252");
    CHECK(d.cid == ContentId{0x71485c0});
    CHECK(to_string(d.cid) == "071485c0");
    CHECK_FALSE(d.has_parent());
    CHECK(d.create_type == "twoGbMaxExtentFlat");
    REQUIRE(d.extents.size() == 3);
    CHECK(d.extents[0].access == Access::read_write);
    CHECK(d.extents[0].size == Sectors(4192256));
    CHECK(d.extents[0].type == ExtentType::flat);
    CHECK(d.extents[0].file_name == "web-f001.vmdk");
    CHECK(d.extents[0].offset == Sectors(0));
    CHECK(d.extents[0].position.line == 9);
    CHECK(d.extents[1].access == Access::read_only);
    CHECK(d.extents[1].type == ExtentType::vmfs);
    CHECK(d.extents[1].file_name == "web data.vmdk");
    CHECK(d.extents[2].access == Access::no_access);
    CHECK(d.extents[2].type == ExtentType::zero);
    CHECK(d.extents[2].file_name.empty());
    CHECK(d.capacity() == Sectors(4192256 + 2048 + 63));
    CHECK(d.ddb.get("adapterType") == "lsilogic");
    CHECK(d.ddb.get("ADAPTERTYPE") == "lsilogic");
    CHECK(d.ddb.get("geometry.cylinders") == "261");
    CHECK(d.ddb.get("uuid") == std::nullopt);
}

TEST_CASE("a delta names its parent") {
    const Descriptor d = parse(
        "version=1\nCID=fffffffe\nparentCID=123abcde\nparentFileNameHint=\"base disk.vmdk\"\n"s + one_extent);
    CHECK(d.has_parent());
    CHECK(to_string(d.parent_cid) == "123abcde");
    CHECK(d.parent_file_name_hint == "base disk.vmdk");
}

TEST_CASE("comments and blank lines may stand anywhere, CRLF and blanks round everything") {
    const Descriptor d = parse(
        "\r\n \t\r\n# createType=\"comment\"\r\n  version = 3 \r\n#\r\n\tCID\t=\tABCDEF01\r\n"
        "  rw \t 8   flat  \"a\"\t 16 \r\n\r\n# RW 8 ZERO\r\nRW 8 ZERO\t\r\n  ddb.x = \"y\"  \r\n");
    CHECK(d.version == 3);
    CHECK(to_string(d.cid) == "abcdef01");
    CHECK(d.create_type.empty());
    REQUIRE(d.extents.size() == 2);
    CHECK(d.extents[0].file_name == "a");
    CHECK(d.extents[0].offset == Sectors(16));
    CHECK(d.extents[0].position.line == 7);
    CHECK(d.extents[0].position.column == 3);
    CHECK(d.ddb.get("x") == "y");
}

TEST_CASE("the last line needs no line end") {
    CHECK(parse("version=1\nRW 8 ZERO").extents.size() == 1);
    CHECK(parse("version=1\nRW 8 ZERO\r").extents.size() == 1);
}

TEST_CASE("a NUL ends the text, as in descriptors that are padded to a sector") {
    CHECK(parse("version=1\nRW 8 ZERO\n"s + std::string(400, '\0')).extents.size() == 1);
    CHECK(parse("version=1\nRW 8 ZERO\0\nnot even a line"s).extents.size() == 1);
    CHECK(failure_of_text("\0version=1\nRW 8 ZERO\n"s) ==
          Failure{ErrorKind::format, "no 'version' line (expected version=1, 2 or 3)"});
}

TEST_CASE("a UTF-8 byte order mark is skipped and does not count as a column") {
    CHECK(parse("\xef\xbb\xbfversion=1\nRW 8 ZERO\n").version == 1);
    CHECK(
        failure_of_text("\xef\xbb\xbf!\n") ==
        Failure{ErrorKind::format, "d.vmdk:1:1: expected an extent line, 'key = value' or a comment\n!\n^"});
}

TEST_CASE("a '#' inside a line is an ordinary character") {
    const Descriptor d = parse("version=1\nRW 8 FLAT \"disk #1.vmdk\" 0\nddb.comment = \"# 1\"\n");
    CHECK(d.extents[0].file_name == "disk #1.vmdk");
    CHECK(d.ddb.get("comment") == "# 1");
}

TEST_CASE("an '=' or blanks in a file name do not make the line a key") {
    CHECK(parse_line("RW 8 FLAT \"a = b.vmdk\" 0").extents[0].file_name == "a = b.vmdk");
}

TEST_CASE("unknown keys are kept") {
    const Descriptor d = parse("version=1\nisNativeSnapshot=\"no\"\nfancyKey=1 2 3\n"s + one_extent);
    REQUIRE(d.header.size() == 3);
    CHECK(d.header[1] == KeyValue("isNativeSnapshot", "no"));
    CHECK(d.header[2] == KeyValue("fancyKey", "1 2 3"));
}

TEST_CASE("keys in any case are the same key; given twice alike is harmless, otherwise an error") {
    CHECK(parse("VERSION=1\nCreateType=\"custom\"\ncreatetype=\"custom\"\n"s + one_extent).create_type ==
          "custom");
    CHECK(failure_of_text("version=1\nCID=1\ncid=2\n"s + one_extent) ==
          Failure{ErrorKind::format,
                  "d.vmdk:3:1: 'cid' is given twice, first as '1' (expected once)\ncid=2\n^"});
}

TEST_CASE("there are at most 65536 header and ddb lines") {
    std::string text = "version=1\n"s + one_extent;
    for (int i = 0; i < 30'000; ++i) text += "a=1\n";
    for (int i = 0; i < 35'535; ++i) text += "ddb.a=1\n";
    const Descriptor d = parse(text);
    CHECK(d.header.size() == 30'001);
    CHECK(d.ddb.entries().size() == 35'535);
    for (const char* more : {"b=1", "ddb.b=1"})
        CHECK(failure_of_text(concat(text, more, "\n")) ==
              Failure{ErrorKind::format,
                      concat("d.vmdk:65538:1: more than 65536 header and ddb lines\n", more, "\n^")});
    text.replace(10, 0, "A=2\n");
    CHECK(failure_of_text(text).text.find("'a' is given twice, first as '2'") != std::string::npos);
}

TEST_CASE("a ^Z behind the last line is a mark of the text's end, elsewhere it is a character") {
    for (const char* mark : {"\x1a", "\x1a\r\n", "\r\n\x1a\x1a"})
        CHECK(parse(concat("version=1\n", one_extent, mark)).extents.size() == 1);
    CHECK(failure_of_text(concat("version=1\n\x1a\n", one_extent)).kind == ErrorKind::format);
}

TEST_CASE("the encoding may stand in the disk database") {
    CHECK(parse("version=1\nddb.encoding = \"GBK\"\n"s + one_extent).encoding == "GBK");
    CHECK(parse("version=1\nencoding=\"UTF-8\"\nddb.encoding = \"GBK\"\n"s + one_extent).encoding == "UTF-8");
}

TEST_CASE("of a ddb key that is given twice the first is taken") {
    CHECK(parse("version=1\nddb.uuid = \"a\"\nddb.uuid = \"b\"\n"s + one_extent).ddb.get("uuid") == "a");
}

TEST_CASE("the words of an extent line are known in any case") {
    const auto type = [](const std::string& word) {
        return parse_line("RW 8 " + word + " \"f\"").extents[0].type;
    };
    CHECK(type("FLAT") == ExtentType::flat);
    CHECK(type("flat") == ExtentType::flat);
    CHECK(type("VMFS") == ExtentType::vmfs);
    CHECK(type("VmfsRaw") == ExtentType::vmfs_raw);
    CHECK(type("ZERO") == ExtentType::zero);
    CHECK(type("SPARSE") == ExtentType::sparse);
    CHECK(type("VMFSSPARSE") == ExtentType::vmfs_sparse);
    CHECK(type("SESPARSE") == ExtentType::se_sparse);
    CHECK(type("VMFSRDM") == ExtentType::vmfs_rdm);
    CHECK(type("VMFSPASSTHROUGHRAWDEVICEMAP") == ExtentType::vmfs_rdm);
    CHECK(type("VSANSPARSE") == ExtentType::vsan_sparse);
    CHECK(parse_line("rdonly 8 ZERO").extents[0].access == Access::read_only);
    CHECK(parse_line("NoAccess 8 ZERO").extents[0].access == Access::no_access);
}

TEST_CASE("words print as the descriptor has them") {
    CHECK(to_string(Access::read_write) == "RW");
    CHECK(to_string(Access::read_only) == "RDONLY");
    CHECK(to_string(Access::no_access) == "NOACCESS");
    CHECK(to_string(ExtentType::vmfs_raw) == "VMFSRAW");
    CHECK(to_string(ExtentType::vmfs_rdm) == "VMFSRDM");
    CHECK(to_string(ExtentType::zero) == "ZERO");
}

TEST_CASE("an offset is in sectors and may be left out") {
    CHECK(parse_line("RW 8 FLAT \"f\"").extents[0].offset == Sectors(0));
    CHECK(parse_line("RW 8 FLAT \"f\" 63").extents[0].offset == Sectors(63));
    CHECK(parse_line("RW 8 VMFS \"f\" 0").extents[0].offset == Sectors(0));
}

TEST_CASE("partition UUID and device id, as Players on Windows write them, are let by; a third word is not") {
    const std::string line = "RW 8 FLAT \"f\" 0 uuid-1 device-2";
    CHECK(parse_line(line).extents[0].file_name == "f");
    CHECK(failure_of_line(line + " more") == fault(33, "unexpected text after the extent", line + " more"));
}

TEST_CASE("a ZERO extent needs no file, and one that it names is not its data") {
    CHECK(parse_line("RW 8 ZERO").extents[0].file_name.empty());
    const ExtentDescriptor zero = parse_line("RW 8 ZERO \"/dev/x\" 0").extents[0];
    CHECK(zero.type == ExtentType::zero);
    CHECK(zero.file_name.empty());
}

TEST_CASE("hidden space needs no file but may name one") {
    CHECK(parse_line("NOACCESS 8 FLAT").extents[0].file_name.empty());
    CHECK(parse_line("NOACCESS 8 FLAT \"f\" 1").extents[0].file_name == "f");
}

TEST_CASE("an extent line that is not understood is an error with line, column, text and caret") {
    CHECK(failure_of_line("WR 8 FLAT \"f\" 0") ==
          fault(1, "unknown access 'WR' (expected RW, RDONLY or NOACCESS)", "WR 8 FLAT \"f\" 0"));
    CHECK(
        failure_of_line("RW 8 FLATT \"f\" 0") ==
        fault(
            6,
            "unknown extent type 'FLATT' (expected FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, SESPARSE, VMFSRAW, "
            "VMFSRDM, VSANSPARSE or VMFSPASSTHROUGHRAWDEVICEMAP)",
            "RW 8 FLATT \"f\" 0"));
    CHECK(failure_of_line("RW 8") == fault(5,
                                           "the line ends here (expected extent type: FLAT, SPARSE, ZERO, "
                                           "VMFS, VMFSSPARSE, SESPARSE, VMFSRAW, "
                                           "VMFSRDM, VSANSPARSE or VMFSPASSTHROUGHRAWDEVICEMAP)",
                                           "RW 8"));
    CHECK(failure_of_line("RW") ==
          fault(3, "the line ends here (expected the extent's size, a number of sectors)", "RW"));
    CHECK(failure_of_line("RW eight FLAT \"f\"") ==
          fault(4, "'eight' is not a number (expected the extent's size, a decimal number of sectors)",
                "RW eight FLAT \"f\""));
    CHECK(failure_of_line("RW -8 ZERO") ==
          fault(4, "'-8' is not a number (expected the extent's size, a decimal number of sectors)",
                "RW -8 ZERO"));
    CHECK(failure_of_line("RW +8 ZERO") ==
          fault(4, "'+8' is not a number (expected the extent's size, a decimal number of sectors)",
                "RW +8 ZERO"));
    CHECK(failure_of_line("RW 0x8 ZERO") ==
          fault(4, "'0x8' is not a number (expected the extent's size, a decimal number of sectors)",
                "RW 0x8 ZERO"));
    CHECK(failure_of_line("RW 8,0 ZERO") ==
          fault(4, "'8,0' is not a number (expected the extent's size, a decimal number of sectors)",
                "RW 8,0 ZERO"));
    CHECK(failure_of_line("RW 0 ZERO") ==
          fault(4, "the extent's size is 0 (expected at least 1 sector)", "RW 0 ZERO"));
    CHECK(failure_of_line("RW 8 FLAT") ==
          fault(10, "the line ends here (expected the file name in double quotes)", "RW 8 FLAT"));
    CHECK(failure_of_line("RW 8 FLAT f 0") ==
          fault(11, "expected the file name in double quotes", "RW 8 FLAT f 0"));
    CHECK(failure_of_line("RW 8 FLAT 'f' 0") ==
          fault(11, "expected the file name in double quotes", "RW 8 FLAT 'f' 0"));
    CHECK(failure_of_line("RW 8 FLAT \"f 0") ==
          fault(11, "the file name has no closing quote", "RW 8 FLAT \"f 0"));
    CHECK(failure_of_line("RW 8 FLAT \"\" 0") == fault(11, "the file name is empty", "RW 8 FLAT \"\" 0"));
    CHECK(failure_of_line("RW 8 FLAT \"f\" x") ==
          fault(15, "'x' is not a number (expected the offset, a decimal number of sectors)",
                "RW 8 FLAT \"f\" x"));
    CHECK(failure_of_line("RW 8 ZERO 0") ==
          fault(11, "expected the file name in double quotes", "RW 8 ZERO 0"));
    CHECK(failure_of_line("<html>") ==
          fault(1, "expected an extent line, 'key = value' or a comment", "<html>"));
    CHECK(failure_of_line("= 5") == fault(1, "expected an extent line, 'key = value' or a comment", "= 5"));
}

TEST_CASE("a fault in a text is a TextError, so that nothing is put in front of its place") {
    CHECK_THROWS_AS(parse_line("RW 0 ZERO"), TextError);
}

TEST_CASE("a control character in a file name is refused, and is not printed") {
    CHECK(failure_of_line("RW 8 FLAT \"f\x1b[31m\" 0") ==
          fault(11, "the file name holds a control character", "RW 8 FLAT \"f\\x1b[31m\" 0"));
    CHECK(failure_of_line("RW 8 FLAT \"f\x7f\" 0") ==
          fault(11, "the file name holds a control character", "RW 8 FLAT \"f\\x7f\" 0"));
    CHECK(failure_of_line("RW 8 FLAT \"f\tg\" 0") ==
          fault(11, "the file name holds a control character", "RW 8 FLAT \"f\tg\" 0"));
    CHECK(failure_of_line("RW 8 \x1b]0;FLAT \"f\"").text.find('\x1b') == std::string::npos);
}

TEST_CASE("columns are characters, and the caret stands under the fault after UTF-8 and tabs") {
    CHECK(failure_of_line("RW 8 FLAT \"\xc3\xa4\xc3\xb6\xe6\x97\xa5.vmdk\" x") ==
          Failure{ErrorKind::format,
                  "d.vmdk:2:22: 'x' is not a number (expected the offset, a decimal number of sectors)\n"
                  "RW 8 FLAT \"\xc3\xa4\xc3\xb6\xe6\x97\xa5.vmdk\" x\n"
                  "                     ^"});
    CHECK(failure_of_line("\tRW\t0 ZERO") ==
          Failure{ErrorKind::format,
                  "d.vmdk:2:5: the extent's size is 0 (expected at least 1 sector)\n\tRW\t0 ZERO\n\t  \t^"});
}

TEST_CASE("of a long line the message shows what is round the fault") {
    const Failure failure =
        failure_of_line("RW 8 FLAT \"" + std::string(5000, 'n') + "\" x " + std::string(5000, 'y'));
    CHECK(failure ==
          Failure{ErrorKind::format,
                  "d.vmdk:2:5014: 'x' is not a number (expected the offset, a decimal number of sectors)\n" +
                      std::string(58, 'n') + "\" x " + std::string(98, 'y') + "\n" + std::string(60, ' ') +
                      "^"});
    CHECK(failure_of_line(std::string(5000, 'z')) ==
          Failure{ErrorKind::format, "d.vmdk:2:1: unknown access '" + std::string(100, 'z') +
                                         "...' (expected RW, RDONLY or NOACCESS)\n" + std::string(100, 'z') +
                                         "\n^"});
}

TEST_CASE("the line number counts every line, whatever is on it") {
    CHECK(failure_of_text("# one\n\n\r\nversion=1\nRW 8 ZERO\nRW 0 ZERO\n") ==
          Failure{ErrorKind::format,
                  "d.vmdk:6:4: the extent's size is 0 (expected at least 1 sector)\nRW 0 ZERO\n   ^"});
}

TEST_CASE("sizes and offsets are bounded") {
    CHECK(parse_line("RW 18014398509481983 ZERO").capacity() == max_capacity);
    CHECK(
        failure_of_line("RW 18014398509481984 ZERO") ==
        fault(4,
              "the extent's size 18014398509481984 is too large (expected at most 18014398509481983 sectors)",
              "RW 18014398509481984 ZERO"));
    CHECK(failure_of_line("RW 18446744073709551617 ZERO") ==
          fault(4,
                "the extent's size 18446744073709551617 is too large (expected at most 18014398509481983 "
                "sectors)",
                "RW 18446744073709551617 ZERO"));
    CHECK(failure_of_line("RW 8 FLAT \"f\" 4611686018427387904") ==
          fault(15,
                "the offset 4611686018427387904 is too large (expected at most 18014398509481983 sectors)",
                "RW 8 FLAT \"f\" 4611686018427387904"));
    CHECK(parse_line("RW 8 FLAT \"f\" 18014398509481975").extents[0].offset == Sectors(18014398509481975));
    CHECK(failure_of_line("RW 8 FLAT \"f\" 18014398509481976") ==
          fault(15, "the offset plus the extent's size is too large", "RW 8 FLAT \"f\" 18014398509481976"));
}

TEST_CASE("the sum of the extents is bounded") {
    const std::string most = "RW 18014398509481983 ZERO\n";
    CHECK(failure_of_text("version=1\n" + most + "RW 1 ZERO\n") ==
          Failure{ErrorKind::format,
                  "d.vmdk:3:1: the extents add up to more than 18014398509481983 sectors\nRW 1 ZERO\n^"});
}

TEST_CASE("the number of extents is bounded") {
    std::string text = "version=1\n";
    for (std::size_t i = 0; i < max_extents; ++i) text += "RW 1 ZERO\n";
    CHECK(parse(text).extents.size() == max_extents);
    CHECK(failure_of_text(text + "RW 1 ZERO\n") ==
          Failure{ErrorKind::format, "d.vmdk:32770:1: more than 32768 extents\nRW 1 ZERO\n^"});
}

TEST_CASE("the size of the text is bounded") {
    std::string text = "version=1\nRW 1 ZERO\n#";
    text.resize(max_descriptor_bytes, 'x');
    CHECK(parse(text).extents.size() == 1);
    CHECK(failure_of_text(text + "x") ==
          Failure{ErrorKind::format, "the descriptor is 4194305 bytes long (at most 4194304 are read)"});
}

TEST_CASE("versions 1, 2 and 3 are known, others are not guessed at") {
    for (const char* version : {"1", "2", "3", "\"1\"", " 1 "})
        CHECK(parse(concat("version=", version, "\n", one_extent)).extents.size() == 1);
    for (const char* version : {"0", "4", "10", "01", "x", ""})
        CHECK(failure_of_text(concat("version=", version, "\n", one_extent)) ==
              Failure{ErrorKind::format, concat("d.vmdk:1:1: unknown descriptor version '", version,
                                                "' (expected 1, 2 or 3)\nversion=", version, "\n^")});
    CHECK(failure_of_text(one_extent) ==
          Failure{ErrorKind::format, "no 'version' line (expected version=1, 2 or 3)"});
    CHECK(failure_of_text("") ==
          Failure{ErrorKind::format, "no 'version' line (expected version=1, 2 or 3)"});
}

TEST_CASE("a disk of no extents is refused") {
    CHECK(failure_of_text("version=1\n") ==
          Failure{ErrorKind::format,
                  "no extent lines (expected such as: RW 4192256 FLAT \"disk-f001.vmdk\" 0)"});
}

TEST_CASE("a content id is up to 8 hexadecimal digits") {
    CHECK(parse("version=1\nCID=0\n"s + one_extent).cid == ContentId{0});
    for (const char* value : {"", "123456789", "xyz", "0x12", "-1", "12 34"})
        CHECK(failure_of_line(concat("CID=", value)) ==
              fault(5, concat("'", value, "' is not a content id (expected up to 8 hexadecimal digits)"),
                    concat("CID=", value)));
    CHECK(failure_of_line("parentCID = no") ==
          fault(13, "'no' is not a content id (expected up to 8 hexadecimal digits)", "parentCID = no"));
}

TEST_CASE("a value without its closing quote is an error at the quote") {
    CHECK(failure_of_line("createType=\"custom") ==
          fault(12, "the value has no closing quote", "createType=\"custom"));
    CHECK(failure_of_line("ddb.x = \"") == fault(9, "the value has no closing quote", "ddb.x = \""));
}

TEST_CASE("an encrypted disk is refused") {
    const std::string message = "the disk is encrypted, and vmdk-dm cannot decrypt it";
    CHECK(failure_of_line("encryptionKeys=\"vmware:key/list/...\"") ==
          fault(1, message, "encryptionKeys=\"vmware:key/list/...\""));
    CHECK(failure_of_line("keyID = \"x\"") == fault(1, message, "keyID = \"x\""));
    CHECK(failure_of_text("version=1\nRW 8 ZERO\nddb.iofilters = \"vmwarelwd,vmcrypt\"\n") ==
          Failure{ErrorKind::format,
                  "the disk is encrypted (ddb.iofilters = \"vmwarelwd,vmcrypt\"), and vmdk-dm cannot "
                  "decrypt "
                  "it"});
}

TEST_CASE("a lone CR is no line end: nothing after it is read as a line of its own") {
    CHECK(failure_of_text("version=1\rRW 8 ZERO\rRW 8 ZERO\n").kind == ErrorKind::format);
    CHECK(failure_of_line("RW 8 ZERO\rRW 8 ZERO") ==
          Failure{ErrorKind::format,
                  "d.vmdk:2:11: expected the file name in double quotes\n"
                  "RW 8 ZERO\\x0dRW 8 ZERO\n"
                  "             ^"});
}

TEST_CASE("a text looks like a descriptor when a header key comes first") {
    CHECK(looks_like_descriptor("version=1\n"));
    CHECK(looks_like_descriptor("# Disk DescriptorFile\nversion=1\n"));
    CHECK(looks_like_descriptor("\xef\xbb\xbf\r\n\n#x\n  Version = 1"));
    CHECK(looks_like_descriptor("encoding=\"UTF-8\"\nversion=1\n"));
    CHECK(looks_like_descriptor("CID=1\n"));
    CHECK(looks_like_descriptor("parentCID=1\n"));
    CHECK(looks_like_descriptor("createType=\"vmfs\"\n"));
    CHECK_FALSE(looks_like_descriptor(""));
    CHECK_FALSE(looks_like_descriptor("# only a comment\n"));
    CHECK_FALSE(looks_like_descriptor("# version=1\n"));
    CHECK_FALSE(looks_like_descriptor("#!/bin/sh\nversion=1; echo\n"s.substr(0, 10)));
    CHECK_FALSE(looks_like_descriptor("versions=1\n"));
    CHECK_FALSE(looks_like_descriptor("hello\nversion=1\n"));
    CHECK_FALSE(looks_like_descriptor("\0version=1\n"s));
    CHECK_FALSE(looks_like_descriptor("KDMV\x01\x00\x00\x00"s));
}

}  // namespace
}  // namespace vmdkdm
