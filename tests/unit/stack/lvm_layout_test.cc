#include "stack/lvm_layout.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using namespace test;

// As lvm 2.03.16 prints it: a VG over two PVs, the second missing when `missing` says so.
std::string report_of(const std::string& segments, const std::string& missing = "") {
    return concat(
        R"({"report": [{"vg": [{"vg_name":"vg-0", "vg_uuid":"RdCD76-rtgQ", "vg_extent_size":"8192"}],
        "pv": [{"pv_name":"/dev/mapper/web1", "pv_uuid":"fmEpen", "pe_start":"2048", "pv_missing":""},
               {"pv_name":")",
        missing.empty() ? "/dev/mapper/web2" : "[unknown]",
        R"(", "pv_uuid":"wj0KAR", "pe_start":"4096", "pv_missing":")", missing, R"("}],
        "lv": [], "pvseg": [], "seg": [)",
        segments, "]}]}");
}

std::string segment(const std::string& lv, const std::string& layout, const std::string& role,
                    const std::string& type, unsigned start, unsigned size, unsigned stripe_size,
                    const std::string& devices) {
    return concat(R"({"lv_name":")", lv, R"(", "lv_uuid":"uuid-of-)", lv, R"(", "lv_layout":")", layout,
                  R"(", "lv_role":")", role,
                  R"(", "lv_permissions":"writeable", "lv_merging":"", "segtype":")", type,
                  R"(", "seg_start":")", start, R"(", "seg_size":")", size, R"(", "stripe_size":")",
                  stripe_size, R"(", "devices":")", devices, R"("})");
}

std::optional<LowerPv> find(const std::string& path) {
    if (path == "/dev/mapper/web1") return LowerPv{{254, 1}, Sectors(100000)};
    if (path == "/dev/mapper/web2") return LowerPv{{254, 2}, Sectors(100000)};
    return std::nullopt;
}

LvmTable only_table(const std::string& report, bool read_only = true) {
    const LvmGroup group = parse_lvm_report(report).at(0);
    return table_of(group.volumes.at(0), group, find, read_only);
}

TEST_CASE("a linear volume in two parts has two lines, in the order of the volume") {
    const LvmTable table = only_table(
        report_of(segment("root", "linear", "public", "linear", 8192, 16384, 0, "/dev/mapper/web2(1)") + "," +
                  segment("root", "linear", "public", "linear", 0, 8192, 0, "/dev/mapper/web1(2)")));
    REQUIRE(table.table);
    CHECK(table.table->print() == "0 8192 linear 254:1 18432\n8192 16384 linear 254:2 12288");
}

TEST_CASE("a volume with a name that lvm would not give stays down, and only that one") {
    const std::string good = segment("root", "linear", "public", "linear", 0, 8192, 0, "/dev/mapper/web1(0)");
    for (const std::string name :
         {"..", ".", "-x", "a b", "a/b", "o\\\"o", "c\x9b 1", "e\x1b[31m", "n\n1", "\xc3\xbc", ""}) {
        INFO(name);
        const std::string odd =
            segment(name, "linear", "public", "linear", 0, 8192, 0, "/dev/mapper/web1(1)");
        const LvmGroup group = parse_lvm_report(report_of(good + "," + odd)).at(0);
        REQUIRE(group.volumes.size() == 2);
        for (const LvmVolume& volume : group.volumes) {
            const LvmTable table = table_of(volume, group, find, true);
            CHECK(table.table.has_value() == (volume.name == "root"));
            CHECK(table.why == (volume.name == "root" ? "" : "no volume can be called that"));
            CHECK_FALSE(table.needs_lvm);
        }
    }
    CHECK(is_lvm_name("vg-0+a_b.C"));
}

TEST_CASE("a hidden volume may be called anything") {
    for (const std::string name : {"a,b", "a(x)", "(1)", "a(99999999999999999999)"}) {
        INFO(name);
        const LvmTable table =
            only_table(report_of(segment("root", "linear", "public", "linear", 0, 8192, 0, name + "(0)")));
        CHECK_FALSE(table.table);
    }
}

TEST_CASE("a striped volume is striped as lvm has it") {
    const LvmTable table = only_table(report_of(segment("s", "striped", "public", "striped", 0, 32768, 128,
                                                        "/dev/mapper/web1(4),/dev/mapper/web2(0)")));
    REQUIRE(table.table);
    CHECK(table.table->print() == "0 32768 striped 2 128 254:1 34816 254:2 4096");
}

TEST_CASE(
    "what is no plain volume needs lvm, and a snapshot is not taken for the linear volume that holds its "
    "store") {
    struct Case {
        std::string layout, role, type, why;
    };
    for (const Case& c : {Case{"thin,sparse", "public", "thin", "it is thin,sparse"},
                          Case{"linear", "public,snapshot,thicksnapshot", "linear", "it is snapshot"},
                          Case{"linear", "public", "vdo", "it is vdo"}}) {
        const LvmTable table =
            only_table(report_of(segment("x", c.layout, c.role, c.type, 0, 8192, 0, "/dev/mapper/web1(0)")));
        CHECK_FALSE(table.table);
        CHECK(table.needs_lvm);
        CHECK(table.why == c.why);
    }
}

TEST_CASE("an origin of snapshots is shown as it is, but never written past them") {
    const std::string report = report_of(
        segment("o", "linear", "public,origin,thickorigin", "linear", 0, 8192, 0, "/dev/mapper/web1(0)"));
    CHECK(only_table(report, true).table);
    const LvmTable writable = only_table(report, false);
    CHECK_FALSE(writable.table);
    CHECK(writable.needs_lvm);
    CHECK(writable.why == "it is origin of snapshots");
}

TEST_CASE("a volume on a missing PV, or beyond the end of one, does not come up") {
    const LvmTable missing = only_table(
        report_of(segment("x", "linear", "public", "linear", 0, 8192, 0, "[unknown](0)"), "missing"));
    CHECK_FALSE(missing.table);
    CHECK_FALSE(missing.needs_lvm);
    CHECK(missing.why == "a physical volume that it lies on is missing");
    const LvmTable beyond =
        only_table(report_of(segment("x", "linear", "public", "linear", 0, 8192, 0, "/dev/mapper/web1(12)")));
    CHECK(beyond.why == "it reaches beyond the end of /dev/mapper/web1");
    const LvmTable huge = only_table(report_of(
        segment("x", "linear", "public", "linear", 0, 8192, 0, "/dev/mapper/web1(18446744073709551615)")));
    CHECK(huge.why == "its layout is damaged");
    const LvmTable hole = only_table(
        report_of(segment("x", "linear", "public", "linear", 8192, 8192, 0, "/dev/mapper/web1(0)")));
    CHECK(hole.why == "its layout is damaged");
}

TEST_CASE("a report that is not as expected is refused") {
    CHECK(parse_lvm_report(R"({"report": []})").empty());
    for (const std::string text :
         {"", "{}", R"({"report": [{}]})", R"({"report": [{"vg": [{"vg_name": 3}]}]})"})
        CHECK(failure_of([&] { parse_lvm_report(text); }).kind == ErrorKind::format);
}

TEST_CASE("a volume on what is no device of ours is not mapped") {
    for (const std::string device : {"/dev/sda", "/dev/sda(0)", "/dev/sda(x)", "(0)"}) {
        const LvmTable table =
            only_table(report_of(segment("x", "linear", "public", "linear", 0, 8192, 0, device)));
        CHECK_FALSE(table.table);
        CHECK_FALSE(table.why.empty());
    }
}

}  // namespace
}  // namespace vmdkdm
