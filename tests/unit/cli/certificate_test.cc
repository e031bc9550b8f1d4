#include "cli/certificate.h"

#include <catch2/catch.hpp>

#include "cli/seal.h"
#include "support/failure.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;

const std::string some_sha256(64, 'a');
const std::string other_sha256(64, 'b');

Certificate example() {
    Certificate certificate;
    certificate.created = "2026-11-22T19:30:05Z";
    certificate.tool = "vmdk-dm 0.1.0";
    certificate.image = "/e/web.vmdk";
    certificate.layer = 1;
    certificate.read = {true, false};
    certificate.ignore_cid = true;
    certificate.capacity = Bytes(4096);
    certificate.disk_sha256 = other_sha256;
    certificate.disk_unreadable = Bytes(512);
    certificate.files = {
        {"/e/web.vmdk", "web.vmdk", FileKind::regular, Bytes(100), "2026-11-22T19:30:05.000000001Z",
         some_sha256},
        {"/e/M\xfcller", "M\xfcller", FileKind::regular, Bytes(0), "2026-11-22T19:30:05.0Z", some_sha256},
        {"/dev/sdb", "/dev/sdb", FileKind::block_device, Bytes(4096), "", other_sha256}};
    return certificate;
}

// The example with one piece of its text replaced.
std::string changed(const std::string& from, const std::string& to) {
    std::string text = certificate_text(example());
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

std::string complaint_about(const std::string& text) {
    const Failure failure = failure_of([&] { parse_certificate(text); });
    CHECK(failure.kind == (failure.text == "(no error)" ? ErrorKind::system : ErrorKind::format));
    return failure.text;
}

TEST_CASE("a certificate reads as it was written, names that are not UTF-8 and devices included") {
    const std::string text = certificate_text(example());
    CHECK(text.find("\"nameHex\": \"4dfc6c6c6572\"") != std::string::npos);
    const Certificate read = parse_certificate(text);
    CHECK(certificate_text(read) == text);
    REQUIRE(read.files.size() == 3);
    CHECK(read.files[1].path == "/e/M\xfcller");
    CHECK(read.files[2].kind == FileKind::block_device);
    CHECK(read.files[2].modified.empty());
    CHECK(read.read.allow_short);
    CHECK(read.ignore_cid);
    CHECK(read.layer == 1);
}

TEST_CASE("a name with control characters is kept, but never as it is") {
    Certificate certificate = example();
    certificate.files[0].name = "a\nb";
    const std::string text = certificate_text(certificate);
    CHECK(text.find("\"nameHex\": \"610a62\"") != std::string::npos);
    CHECK(parse_certificate(text).files[0].name == "a\nb");
    certificate.files[0].name = "a\xc2\x9b";
    CHECK(certificate_text(certificate).find("\"name\": \"a\\u009b\"") != std::string::npos);
    CHECK(parse_certificate(certificate_text(certificate)).files[0].name == "a\xc2\x9b");
}

TEST_CASE("what is not exactly a certificate is refused, and the message names the key") {
    CHECK(complaint_about("") == "it is not JSON (see byte 1)");
    CHECK(complaint_about("{\"format\": \"vmdk-dm seal\",}") == "it is not JSON (see byte 27)");
    CHECK(complaint_about("\"\xff\"") == "it is not JSON (see byte 2)");
    CHECK(complaint_about("[]") == "it is not a JSON object");
    CHECK(complaint_about("null") == "it is not a JSON object");
    CHECK(complaint_about("{}") == "the key 'format' is missing");
    CHECK(complaint_about(changed("vmdk-dm seal", "seal")) == "the key 'format' is not 'vmdk-dm seal'");
    CHECK(complaint_about(changed("\"version\": 1", "\"version\": 2")) ==
          "the key 'version' is 2, and this vmdk-dm reads version 1");
    CHECK(complaint_about(changed("\"version\": 1", "\"version\": 1.0")) ==
          "the key 'version' is not a whole number from 0 to 2^64 - 1");
    CHECK(complaint_about(changed("\"size\": 100", "\"size\": -1")) ==
          "the key 'files[0].size' is not a whole number from 0 to 2^64 - 1");
    CHECK(complaint_about(changed("\"size\": 100", "\"size\": 18446744073709551616")) ==
          "the key 'files[0].size' is not a whole number from 0 to 2^64 - 1");
    CHECK(complaint_about(changed("\"size\": 100", "\"size\": 1e999")) ==
          "it holds a number that is too large");
    CHECK(complaint_about(changed("\"size\": 100", "\"size\": \"100\"")) ==
          "the key 'files[0].size' is not a whole number from 0 to 2^64 - 1");
    CHECK(complaint_about(changed("\"layer\": 1", "\"layer\": 4294967296")) ==
          "the key 'layer' is too large");
    CHECK(complaint_about(changed("\"allowShort\": true", "\"allowShort\": 1")) ==
          "the key 'read.allowShort' is neither true nor false");
    CHECK(complaint_about(changed("\"/e/web.vmdk\"", "\"web.vmdk\"")) ==
          "the key 'image' is not an absolute path");
    CHECK(complaint_about(changed("\"/e/web.vmdk\"", "\"/e/\\u0000\"")) ==
          "the key 'image' has control characters in it");
    CHECK(complaint_about(changed("\"/e/web.vmdk\"", "\"/e/\\u001b[2J\"")) ==
          "the key 'image' has control characters in it");
    CHECK(complaint_about(changed("\"web.vmdk\"", "\"\"")) == "the key 'files[0].name' is empty");
    CHECK(complaint_about(changed("4dfc", "00fc")) == "the key 'files[1].pathHex' has a zero byte in it");
    CHECK(complaint_about(changed("4dfc", "4df")) == "the key 'files[1].pathHex' is not hexadecimal");
    CHECK(complaint_about(changed("\"file\"", "\"fifo\"")) ==
          "the key 'files[0].kind' is neither file nor device");
    CHECK(complaint_about(changed("null", "\"\"")) ==
          "the key 'files[2].modified' is not null, as it is for a device");
    CHECK(complaint_about(changed(other_sha256, "abc")) ==
          "the key 'disk.sha256' is not a SHA-256 (64 lower-case hexadecimal digits)");
    CHECK(complaint_about(changed(some_sha256, std::string(64, 'A'))) ==
          "the key 'files[0].sha256' is not a SHA-256 (64 lower-case hexadecimal digits)");
    CHECK(complaint_about(changed("\"name\": \"/dev/sdb\"", "\"name\": \"web.vmdk\"")) ==
          "the key 'files[2].name' is that of another file too");
    CHECK(complaint_about(changed("\"tool\"", "\"tool\": \"x\", \"tool\"")) ==
          "the key 'tool' is given twice");
    CHECK(complaint_about(changed("\"tool\"", "\"more\\u001b\": 1, \"tool\"")) ==
          "the key 'more\\x1b' is not known to version 1");
    CHECK(complaint_about(changed("\"kind\"", "\"more\": {}, \"kind\"")) ==
          "the key 'files[0].more' is not known to version 1");
    CHECK(complaint_about(changed("\"files\": [", "\"files\": [7,")) ==
          "the key 'files[0]' is not an object");
    CHECK(complaint_about(changed("\"disk\": {", "\"disk\": 7, \"other\": {")) ==
          "the key 'disk' is not an object");
}

TEST_CASE("no nesting is too deep, no text too odd, to be refused in good order") {
    CHECK(complaint_about(std::string(1 << 20, '[')) == "its values are nested too deeply");
    CHECK(complaint_about(changed("\"/e/web.vmdk\"", std::string(100, '[') + std::string(100, ']'))) ==
          "its values are nested too deeply");
    std::string objects;
    for (int i = 0; i < 100; ++i) objects += "{\"a\":";
    CHECK(complaint_about(objects) == "its values are nested too deeply");
    // Cut anywhere, or with any byte another one: refused or read, never a crash.
    const std::string text = certificate_text(example());
    for (std::size_t at = 0; at + 2 < text.size(); ++at) {
        CHECK(complaint_about(text.substr(0, at)) != "(no error)");
        for (const char byte : {'\0', '"', '{', '9', '\xff'}) {
            std::string other = text;
            other[at] = byte;
            complaint_about(other);
        }
    }
}

TEST_CASE("an image is compared with a certificate by the names of its files, wherever it is now") {
    MemoryFiles memory;
    Certificate certificate = example();
    certificate.files = {{"/e/web.vmdk", "web.vmdk", FileKind::regular, Bytes(3), "x", some_sha256},
                         {"/e/d/flat", "d/flat", FileKind::regular, Bytes(4), "x", some_sha256},
                         {"/b/base", "../b/base", FileKind::regular, Bytes(5), "x", some_sha256}};
    std::vector<FilePtr> files = {memory.add("/new/b/base", "12345"), memory.add("/new/e/web.vmdk", "123"),
                                  memory.add("/new/e/d/flat", "1234")};
    std::vector<FileHash> hashes(3);
    for (FileHash& hash : hashes) hash.sha256 = some_sha256;
    const auto compare = [&] {
        return failure_of([&] { require_unchanged(certificate, "/new/e/web.vmdk", files, hashes); });
    };
    CHECK(compare().text == "(no error)");

    SECTION("other bytes") {
        hashes[1].sha256 = other_sha256;
        CHECK(compare() == Failure{ErrorKind::changed, "'web.vmdk' has changed"});
    }
    SECTION("another file, and one that is gone") {
        files[0] = memory.add("/new/b/other", "12345");
        CHECK(compare() ==
              Failure{ErrorKind::changed,
                      "'../b/other' is not in it, '../b/base' is no file of the image any more"});
    }
    SECTION("a device in the place of a file") {
        certificate.files[2] = {"/dev/sdb", "/dev/sdb", FileKind::regular, Bytes(8192), "x", some_sha256};
        files[0] = memory.add_hole("/dev/sdb", Bytes(8192), FileKind::block_device);
        CHECK(compare() == Failure{ErrorKind::changed, "'/dev/sdb' has changed"});
    }
    SECTION("very many") {
        for (int i = 0; i < 30; ++i) {
            files.push_back(memory.add("/new/e/more" + std::to_string(i), ""));
            hashes.push_back({some_sha256, {}, {}});
        }
        CHECK(compare().text.ends_with("'more19' is not in it, and 10 more like these"));
    }
}

}  // namespace
}  // namespace vmdkdm
