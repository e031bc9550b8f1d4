#include "vmdk/file_name.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/error.h"

namespace vmdkdm {
namespace {

using Names = std::vector<std::string>;

TEST_CASE("an ASCII name is its only candidate, whatever the encoding") {
    CHECK(file_name_candidates("disk-flat.vmdk", "") == Names{"disk-flat.vmdk"});
    CHECK(file_name_candidates("disk-flat.vmdk", "UTF-8") == Names{"disk-flat.vmdk"});
    CHECK(file_name_candidates("disk-flat.vmdk", "UTF-16") == Names{"disk-flat.vmdk"});
}

TEST_CASE("a name is converted from the declared encoding first, and then tried as it stands") {
    CHECK(file_name_candidates("M\xfcller.vmdk", "windows-1252") ==
          Names{"M\xc3\xbcller.vmdk", "M\xfcller.vmdk"});
    CHECK(file_name_candidates("\xef\xf0\xe8.vmdk", "windows-1251") ==
          Names{"\xd0\xbf\xd1\x80\xd0\xb8.vmdk", "\xef\xf0\xe8.vmdk"});
    CHECK(file_name_candidates("\xc4\xe3\xba\xc3.vmdk", "GBK") ==
          Names{"\xe4\xbd\xa0\xe5\xa5\xbd.vmdk", "\xc4\xe3\xba\xc3.vmdk"});
}

TEST_CASE("UTF-8 needs no conversion") {
    CHECK(file_name_candidates("M\xc3\xbcller.vmdk", "UTF-8") == Names{"M\xc3\xbcller.vmdk"});
    CHECK(file_name_candidates("M\xc3\xbcller.vmdk", "") == Names{"M\xc3\xbcller.vmdk"});
}

TEST_CASE("a backslash is a separator only where it is not half of a character") {
    // Shift_JIS 0x95 0x5c is U+8868, "table"; its second byte is the backslash.
    CHECK(file_name_candidates("\x95\x5c.vmdk", "Shift_JIS") ==
          Names{"\xe8\xa1\xa8.vmdk", "\x95\x5c.vmdk", "\x95/.vmdk"});
    // GBK 0x95 0x5c is U+661E.
    CHECK(file_name_candidates("\x95\x5c.vmdk", "GBK").front() == "\xe6\x98\x9e.vmdk");
    for (const char* page :
         {"windows-932", "Windows-932", "x-windows-932", "x-ms-cp932", "ibm-943_P15A-2003"})
        CHECK(file_name_candidates("\x87\x40.vmdk", page).front() == "\xe2\x91\xa0.vmdk");
    CHECK(file_name_candidates("\xb0\xa1.vmdk", "windows-949").front() == "\xea\xb0\x80.vmdk");
    CHECK(file_name_candidates("\xa4\x40.vmdk", "windows-950").front() == "\xe4\xb8\x80.vmdk");
    CHECK(file_name_candidates("sub\\disk.vmdk", "") == Names{"sub\\disk.vmdk", "sub/disk.vmdk"});
}

TEST_CASE("an unknown encoding, or bytes that are not valid in it, leave the name as it stands") {
    CHECK(file_name_candidates("M\xfcller.vmdk", "no-such-charset") == Names{"M\xfcller.vmdk"});
    CHECK(file_name_candidates("M\xfcller.vmdk", "UTF-8") == Names{"M\xfcller.vmdk"});
    CHECK(file_name_candidates("\xfc", "UTF-16LE") == Names{"\xfc"});
}

TEST_CASE("no encoding brings in control characters that the descriptor's text may not have") {
    // In EBCDIC 0x27 is ESC and 0x25 a line feed: a terminal must not be driven through an error message.
    for (const std::string encoding : {"IBM037", "EBCDIC-US", "IBM1047", "UTF-7"})
        for (const std::string& name : file_name_candidates("\x27\x25\xc1.vmdk", encoding))
            for (const char c : name) CHECK_FALSE((static_cast<unsigned char>(c) < 0x20 || c == 0x7f));
}

TEST_CASE("a device of a Windows host and an object on vSAN are known by their prefixes") {
    CHECK_THROWS_AS(refuse_unreachable_name("\\\\.\\PhysicalDrive0"), Error);
    CHECK_THROWS_AS(refuse_unreachable_name("vsan://5e/x.vmdk"), Error);
    CHECK_NOTHROW(refuse_unreachable_name("\\\\server\\share"));
    CHECK_NOTHROW(refuse_unreachable_name("/dev/sda"));
}

TEST_CASE("an absolute name of any host has a base name, others and devices have none") {
    for (const char* name : {"/vms/x.vmdk", "C:\\VMs\\x.vmdk", "c:/x.vmdk", "\\\\server\\share\\x.vmdk",
                             "[ds 1] a/x.vmdk", "[ds] x.vmdk", "[ds]x.vmdk"})
        CHECK(base_name_of_absolute(name) == "x.vmdk");
    for (const char* name :
         {"x.vmdk", "a/x.vmdk", "a\\x.vmdk", "1:/x", "C:x", "/dev/sda", "/vms/", "/..", "/", "[ds]", "[x"})
        CHECK(base_name_of_absolute(name) == std::nullopt);
}

}  // namespace
}  // namespace vmdkdm
