#include "tab/tab.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/concat.h"
#include "support/failure.h"
#include "support/temp_dir.h"
#include "tab/options.h"
#include "tab/time_span.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using Strings = std::vector<std::string>;

TabEntry only_entry(const std::string& line) {
    const Tab tab = parse_tab(line, "tab");
    for (const TabFault& fault : tab.faults) FAIL(fault.error.what());
    REQUIRE(tab.entries.size() == 1);
    return tab.entries.front();
}

std::string only_fault(const std::string& line) {
    const Tab tab = parse_tab(line, "tab");
    CHECK(tab.entries.empty());
    REQUIRE(tab.faults.size() == 1);
    CHECK(tab.faults.front().line == 1);
    return tab.faults.front().error.what();
}

TEST_CASE("a line has a name, an image and options") {
    const TabEntry entry = only_entry("web\t/vm/web.vmdk  expose,strategy=linear,nofail\n");
    CHECK(entry.line == 1);
    CHECK(entry.name == "web");
    CHECK(entry.image == TabImage{"", "/vm/web.vmdk"});
    CHECK(entry.options ==
          std::vector<TabOption>{{"expose", {}, 0}, {"strategy", "linear", 0}, {"nofail", {}, 0}});
    CHECK(entry.text.substr(entry.name_offset, 3) == "web");
    CHECK(entry.text.substr(entry.image_offset, 4) == "/vm/");
    CHECK(entry.text.substr(entry.options[1].offset, 8) == "strategy");
    CHECK(entry.nofail());
    CHECK_FALSE(entry.noauto());
    CHECK(entry.place() == "tab:1");
}

TEST_CASE("comments, empty lines, '-' and 'none' say nothing; the last line needs no end") {
    const Tab tab =
        parse_tab("# a comment\n\n  \t# another\r\na /a - # why\r\nb /b none\n c /c #-\nd /d", "tab");
    CHECK(tab.faults.empty());
    REQUIRE(tab.entries.size() == 4);
    for (const TabEntry& entry : tab.entries) CHECK(entry.options.empty());
    CHECK(tab.entries[0].line == 4);
    CHECK(tab.entries[3].line == 7);
    CHECK(tab.entries[3].image.path == "/d");
    CHECK(parse_tab("", "tab").entries.empty());
}

TEST_CASE("octal escapes stand for bytes in every field, a comma in a value included") {
    const TabEntry entry =
        only_entry("\\167eb /vm/my\\040disk\\134.vmdk overlay=/a\\054b,\\145xpose,x-note=\\303\\274");
    CHECK(entry.name == "web");
    CHECK(entry.image.path == "/vm/my disk\\.vmdk");
    CHECK(entry.values("overlay") == Strings{"/a,b"});
    CHECK(entry.has("expose"));
    CHECK(entry.values("x-note") == Strings{"\xc3\xbc"});
}

TEST_CASE("an image may be in a device's file system") {
    CHECK(only_entry("a UUID=12-34:/i.vmdk").image == TabImage{"UUID=12-34", "/i.vmdk"});
    CHECK(only_entry("a LABEL=my\\040disk:/i.vmdk").image == TabImage{"LABEL=my disk", "/i.vmdk"});
    CHECK(only_entry("a PARTLABEL=x:y:/i:/j.vmdk").image == TabImage{"PARTLABEL=x:y", "/i:/j.vmdk"});
    CHECK(only_entry("a LABEL=x\\072/y:/i").image == TabImage{"LABEL=x:/y", "/i"});
    CHECK(only_entry("a /dev/disk/by-path/pci-0000:00:1f.2:/i").image ==
          TabImage{"/dev/disk/by-path/pci-0000:00:1f.2", "/i"});
    CHECK(only_entry("a /dev/shm/i").image == TabImage{"", "/dev/shm/i"});
    CHECK(only_entry("a /data/x:/i").image == TabImage{"", "/data/x:/i"});
    CHECK(only_entry("a /dev/shm/x\\072/i").image == TabImage{"", "/dev/shm/x:/i"});
}

TEST_CASE("a broken line is named with its place, and the others can be used") {
    const Tab tab = parse_tab("a /a\nb\nc /c --expose\nd /d\na /e\n", "/etc/vmdktab");
    REQUIRE(tab.entries.size() == 2);
    CHECK(tab.find("a")->image.path == "/a");
    CHECK(tab.find("d") != nullptr);
    CHECK(tab.find("b") == nullptr);
    REQUIRE(tab.faults.size() == 3);
    CHECK(tab.faults[0].error.what() ==
          std::string("/etc/vmdktab:2:2: the line ends here (expected the image)\nb\n ^"));
    CHECK(tab.faults[1].line == 3);
    CHECK(tab.faults[1].name == "c");
    CHECK(parse_tab("a/b /i\n", "tab").faults.at(0).name.empty());
    CHECK(tab.faults[1].error.what() ==
          std::string("/etc/vmdktab:3:6: '--expose' is not an option (options are written without '--')\n"
                      "c /c --expose\n     ^"));
    CHECK(tab.faults[2].error.what() ==
          std::string("/etc/vmdktab:5:1: the name 'a' is that of line 1 too\na /e\n^"));
}

TEST_CASE("what is not understood is refused") {
    CHECK(only_fault("a b") ==
          "tab:1:3: 'b' is neither an absolute path nor DEV:/PATH, where DEV is UUID=, LABEL=, PARTUUID=, "
          "PARTLABEL= or /dev/...\na b\n  ^");
    CHECK(only_fault("a UUID=1") == "tab:1:3: 'UUID=1' names no image (expected DEV:/PATH)\na UUID=1\n  ^");
    CHECK(only_fault("a UUID=:/i") == "tab:1:3: 'UUID=' names no device\na UUID=:/i\n  ^");
    CHECK(only_fault("a /dev/:/i") == "tab:1:3: '/dev/' names no device\na /dev/:/i\n  ^");
    CHECK(only_fault("a /dev/x\\040y:/i") ==
          "tab:1:3: '/dev/x y' holds a blank, which no device has (udev writes it '\\x20')\n"
          "a /dev/x\\040y:/i\n  ^");
    CHECK(only_fault("a /i/") == "tab:1:3: '/i/' is a directory (expected an image)\na /i/\n  ^");
    CHECK(only_fault("a UUID=1:/x/../i") ==
          "tab:1:10: '/x/../i' holds '..' (write the path without)\na UUID=1:/x/../i\n         ^");
    CHECK(only_fault("a/b /i") ==
          "tab:1:1: the device name 'a/b' holds a character outside A-Z a-z 0-9 #+-.:=@_\na/b /i\n^");
    CHECK(only_fault(".. /i") == "tab:1:1: '..' cannot be a device name (choose another)\n.. /i\n^");
    CHECK(only_fault("a /i x y") ==
          "tab:1:8: a fourth field (a blank within a field is written '\\040', a comment begins with '#')\n"
          "a /i x y\n       ^");
    CHECK(only_fault("a /i\\9") ==
          "tab:1:5: '\\' is not followed by the three octal digits of a byte (a '\\' itself is written "
          "'\\134')\na /i\\9\n    ^");
    CHECK(only_fault("a /i\\012 x") == "tab:1:5: a control character\na /i\\012 x\n    ^");
    CHECK(only_fault("a /i\\400").find("three octal digits") != std::string::npos);
    CHECK(only_fault("a /i\\77").find("three octal digits") != std::string::npos);
    CHECK(only_fault(std::string("a /i\0 x", 7)) == "tab:1:5: a control character\na /i\\x00 x\n    ^");
    CHECK(only_fault("a /i strategy=") ==
          "tab:1:6: the value of 'strategy' is empty\na /i strategy=\n     ^");
    CHECK(only_fault("a /i =x") == "tab:1:6: '' is not an option\na /i =x\n     ^");
}

TEST_CASE("options of the boot have the values that they need") {
    CHECK(only_fault("a /i nofail=1") == "tab:1:6: 'nofail' takes no value\na /i nofail=1\n     ^");
    CHECK(only_fault("a /i x,timeout").find("tab:1:8: 'timeout' needs a value: timeout=...") == 0);
    CHECK(only_fault("a /i timeout=soon")
              .find("'soon' is not a time (expected seconds, or a time span such as 1min 30s)") !=
          std::string::npos);
    CHECK(only_fault("a /i host-options=noatime") ==
          "tab:1:6: 'host-options' is for images given as DEV:/PATH\na /i host-options=noatime\n     ^");
    CHECK(only_fault("a /i x-systemd.requires-mounts-for=data").find("'data' is not an absolute path") !=
          std::string::npos);
    const TabEntry entry = only_entry(
        "a UUID=1:/i timeout=90s,host-options=noatime\\054ro,x-systemd.requires=a.service,"
        "x-systemd.requires=b.service,x-anything,_netdev,late,noauto,auto,,x-initrd.attach");
    CHECK(entry.values("x-systemd.requires") == Strings{"a.service", "b.service"});
    CHECK(entry.find("host-options")->value == "noatime,ro");
    CHECK_FALSE(entry.noauto());
    CHECK(only_entry("a /i auto,noauto").noauto());
}

TEST_CASE("options that an entry has no use for are refused by name") {
    CHECK(only_fault("a /i name=b") ==
          "tab:1:6: 'name' cannot stand in a table: the name is the first field of the line\n"
          "a /i name=b\n     ^");
    for (const std::string option : {"json", "progress=json", "help", "version", "table", "table-file=/x"})
        CHECK(only_fault("a /i " + option).find("cannot stand in a table") != std::string::npos);
}

TEST_CASE("paths in options are absolute") {
    for (const std::string option :
         {"overlay", "allow-path", "search-dir", "cache-dir", "seal", "require-seal"}) {
        CHECK(only_fault(concat("a /i ", option, "=x")).find("'x' is not an absolute path") !=
              std::string::npos);
        CHECK(only_fault(concat("a /i ", option)).find(concat("'", option, "' needs a path")) !=
              std::string::npos);
        CHECK(only_entry(concat("a /i ", option, "=/x,", option, "=/y")).option_paths() ==
              Strings{"/x", "/y"});
    }
}

TEST_CASE("an entry becomes attach's arguments, without what is for the boot") {
    const TabEntry entry =
        only_entry("web /vm/web.vmdk expose,overlay=/o,nofail,timeout=3,x-y=z,sector-size=4096");
    CHECK(attach_arguments(entry, "/ignored") ==
          Strings{"--name=web", "--expose", "--overlay=/o", "--sector-size=4096", "/vm/web.vmdk"});
}

TEST_CASE("every path of an entry with a device is on that device") {
    const TabEntry entry = only_entry("web UUID=1:/web.vmdk overlay=/o,run-dir=/run/x,search-dir=/s");
    CHECK(attach_arguments(entry, "/mnt") == Strings{"--name=web", "--overlay=/mnt/o", "--run-dir=/run/x",
                                                     "--search-dir=/mnt/s", "/mnt/web.vmdk"});
    CHECK(local_path(entry, "/x", "/") == "/x");
    CHECK(entry.writes());
    CHECK(only_entry("a /i in-place").writes());
    CHECK_FALSE(only_entry("a /i scratch").writes());
}

TEST_CASE("rd.vmdk says the same in another order") {
    const TabEntry entry = parse_rd_vmdk("UUID=12-34:/vm/web.vmdk:root:expose,overlay=/a\\072b\\040c");
    CHECK(entry.name == "root");
    CHECK(entry.image == TabImage{"UUID=12-34", "/vm/web.vmdk"});
    CHECK(entry.values("overlay") == Strings{"/a:b c"});
    CHECK(print_tab_line(entry) == "root UUID=12-34:/vm/web.vmdk expose,overlay=/a:b\\040c");
    CHECK(parse_rd_vmdk("/dev/sda1:/i:n").options.empty());
    CHECK(parse_rd_vmdk("/dev/sda1:/i:n:-").options.empty());
    CHECK(parse_rd_vmdk("/dev/sda1:/i\\072/j:n\\0721:").image.path == "/i:/j");
}

TEST_CASE("a wrong rd.vmdk is refused with its place") {
    CHECK(failure_of([] { parse_rd_vmdk("/i:n"); }) ==
          Failure{ErrorKind::format,
                  "rd.vmdk:1:1: expected DEV:/PATH:NAME[:OPTIONS], where DEV is UUID=, LABEL=, PARTUUID=, "
                  "PARTLABEL= or /dev/...\n/i:n\n^"});
    CHECK(failure_of([] { parse_rd_vmdk("0"); }).kind == ErrorKind::format);
    CHECK(failure_of([] { parse_rd_vmdk("UUID=1:/i"); }).text ==
          "rd.vmdk:1:10: the value ends here (expected :NAME)\nUUID=1:/i\n         ^");
    CHECK(failure_of([] { parse_rd_vmdk("UUID=1:/i:"); }).text ==
          "rd.vmdk:1:11: a device name must not be empty\nUUID=1:/i:\n          ^");
    CHECK(failure_of([] { parse_rd_vmdk("UUID=1:/i:n:expose:scratch"); }).text ==
          "rd.vmdk:1:20: another field (a ':' within a field is written '\\072')\n"
          "UUID=1:/i:n:expose:scratch\n                   ^");
}

TEST_CASE("what is printed reads back as the same entry") {
    TabEntry entry;
    entry.name = "#web:1";
    entry.image = {"/dev/disk/by-path/a:0:/b", "/x y/#z\\,:/\"$\xc3\xbc.vmdk"};
    entry.options = {{"overlay", "/a, b:c\\d", 0}, {"expose", {}, 0}, {"x-note", "", 0}};
    const TabEntry of_line = only_entry(print_tab_line(entry));
    const TabEntry of_command_line = parse_rd_vmdk(print_rd_vmdk(entry));
    for (const TabEntry& again : {of_line, of_command_line}) {
        CHECK(again.name == entry.name);
        CHECK(again.image == entry.image);
        CHECK(again.options == entry.options);
    }
    CHECK(print_rd_vmdk(entry).find_first_of(" \t\"$") == std::string::npos);
    entry.image = {"", "/dev/shm:/x"};
    CHECK(only_entry(print_tab_line(entry)).image == entry.image);
    entry.options = {{"none", {}, 0}};
    CHECK(only_entry(print_tab_line(entry)).options == entry.options);
}

TEST_CASE("options of a command line are read as those of a line") {
    CHECK(parse_tab_options("expose,overlay=/o", "--options") ==
          std::vector<TabOption>{{"expose", {}, 0}, {"overlay", "/o", 0}});
    CHECK(failure_of([] { parse_tab_options("expose,json", "--options"); }).text ==
          "--options:1:8: 'json' cannot stand in a table: it belongs to a run of the command\n"
          "expose,json\n       ^");
}

TEST_CASE("a file is read; one that is missing or far too large is an error") {
    const test::TempDir directory;
    const std::string path = directory.path("vmdktab");
    CHECK(failure_of([&] { read_tab(path); }) ==
          Failure{ErrorKind::not_found, concat("cannot open '", path, "': No such file or directory")});
    std::ofstream(path) << "a /a\n";
    CHECK(read_tab(path).entries.size() == 1);
    CHECK(read_tab(path).entries.front().place() == path + ":1");
    std::ofstream(path) << std::string(max_tab_bytes + 1, '\n');
    CHECK(
        failure_of([&] { read_tab(path); }) ==
        Failure{ErrorKind::format, concat("'", path, "' is larger than 4194304 bytes (expected a vmdktab)")});
    CHECK(failure_of([&] { read_tab(directory.path()); }).text ==
          concat("cannot read '", directory.path(), "': Is a directory"));
}

TEST_CASE("times are those of systemd.time(7)") {
    CHECK(parse_time_span("90") == 90'000'000u);
    CHECK(parse_time_span("1min 30s") == 90'000'000u);
    CHECK(parse_time_span("1min30s") == 90'000'000u);
    CHECK(parse_time_span(" 2 h ") == 7'200'000'000u);
    CHECK(parse_time_span("1.5s") == 1'500'000u);
    CHECK(parse_time_span("20ms 5us") == 20'005u);
    CHECK(parse_time_span("0") == 0u);
    CHECK(parse_time_span("infinity") == infinite_time);
    for (const std::string text :
         {"", " ", "s", "-1", "1x", "1e3", "nan", "inf", "0x10", "1 2 z", "99999999999w"})
        CHECK(parse_time_span(text) == std::nullopt);
}

}  // namespace
}  // namespace vmdkdm
