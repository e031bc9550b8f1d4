#include "units/unit_name.h"

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>

#include "base/concat.h"

namespace vmdkdm {
namespace {

TEST_CASE("a unit's name is escaped as systemd.unit(5) says") {
    CHECK(unit_escape("web") == "web");
    CHECK(unit_escape("web-1") == "web\\x2d1");
    CHECK(unit_escape(".a.b") == "\\x2ea.b");
    CHECK(unit_escape("a#b+c=d@e:f_g") == "a\\x23b\\x2bc\\x3dd\\x40e:f_g");
    CHECK(unit_path_escape("/") == "-");
    CHECK(unit_path_escape("//srv//my images/") == "srv-my\\x20images");
    CHECK(service_of("web-1") == "vmdk-dm@web\\x2d1.service");
}

// What systemd-escape(1) prints for the text; empty where there is no such program.
std::string systemd_escaped(const std::string& options, const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    FILE* out = ::popen(concat("systemd-escape ", options, " -- ", quoted, "' 2>/dev/null").c_str(), "r");
    if (out == nullptr) return "";
    std::array<char, 4096> buffer{};
    std::string said(buffer.data(), std::fread(buffer.data(), 1, buffer.size(), out));
    ::pclose(out);
    if (said.ends_with('\n')) said.pop_back();
    return said;
}

TEST_CASE("names and paths are escaped as systemd-escape does it") {
    if (systemd_escaped("", "a") != "a") return;  // no systemd here
    std::string all;
    for (int c = 0x20; c < 0x100; ++c)
        if (c != 0x7f) all += static_cast<char>(c);
    for (const std::string& text : {std::string("web-1"), std::string(".hidden"), std::string("a.b"),
                                    std::string("..."), std::string("x y"), std::string("ä%\\"), all})
        CHECK(unit_escape(text) == systemd_escaped("", text));
    for (const std::string& path :
         {std::string("/"), std::string("//"), std::string("/srv/"), std::string("/.x/.y"),
          std::string("/run/vmdk-dm/mnt/LABEL=My%20Host"), std::string("//a///b//"), std::string("/ä ö")})
        CHECK(unit_path_escape(path) == systemd_escaped("--path", path));
}

TEST_CASE("a device is where udev links it") {
    CHECK(device_path("LABEL=HOST") == "/dev/disk/by-label/HOST");
    CHECK(device_path("LABEL=\"My Host\"") == "/dev/disk/by-label/My\\x20Host");
    CHECK(device_path("LABEL=a/b\\c") == "/dev/disk/by-label/a\\x2fb\\x5cc");
    CHECK(device_path("LABEL=Wäsche") == "/dev/disk/by-label/Wäsche");
    CHECK(device_path("UUID=12-34") == "/dev/disk/by-uuid/12-34");
    CHECK(device_path("PARTLABEL=p") == "/dev/disk/by-partlabel/p");
    CHECK(device_path("PARTUUID=p") == "/dev/disk/by-partuuid/p");
    CHECK(device_path("/dev/sda1") == "/dev/sda1");
    CHECK(device_path("server:/x") == "server:/x");
    CHECK(device_unit("LABEL=My Host") == "dev-disk-by\\x2dlabel-My\\x5cx20Host.device");
}

TEST_CASE("what systemd would not take for a unit is none") {
    for (const std::string unit :
         {"a.service", "a@b.service", "a\\x2db.mount", "dev-sda.device", "a.b.target"})
        CHECK(is_unit_name(unit));
    for (const std::string text : {"", "a", ".service", "a.", "a.unit", "a b.service", "a/b.service",
                                   "@b.service", "a\nb.service", "ä.service"})
        CHECK_FALSE(is_unit_name(text));
    CHECK_FALSE(is_unit_name(std::string(250, 'a') + ".service"));
}

}  // namespace
}  // namespace vmdkdm
