#include "units/units.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/concat.h"

namespace vmdkdm {
namespace {

const std::string service_drop_in = ".service.d/50-vmdktab.conf";

struct Machine {
    std::string fstab;
    std::string crypttab;
    std::map<std::string, std::vector<std::string>> files;
};

Units units_of(const std::string& tab, const Machine& machine = {}) {
    return make_units(
        parse_tab(tab, "vmdktab"),
        {parse_fstab(machine.fstab), parse_crypttab(machine.crypttab), machine.files, "/lib/systemd/system"});
}

// The text of a unit; empty when there is none of that name.
std::string text_of(const Units& units, const std::string& path) {
    for (const UnitFile& file : units.files)
        if (file.path == path) return file.text;
    return "";
}
std::string entry_text(const Units& units, const std::string& name) {
    return text_of(units, concat("vmdk-dm@", name, service_drop_in));
}

bool has_line(const std::string& text, const std::string& line) {
    return concat("\n", text).find(concat("\n", line, "\n")) != std::string::npos;
}

bool has_link(const Units& units, const std::string& path) {
    return std::any_of(units.links.begin(), units.links.end(),
                       [&](const UnitLink& link) { return link.path == path; });
}

TEST_CASE("an entry becomes a drop-in for its service, and links that start it") {
    const Units units = units_of("web /srv/web.vmdk\n");
    CHECK(units.faults.empty());
    CHECK(units.files == std::vector<UnitFile>{{"vmdk-dm@web.service.d/50-vmdktab.conf",
                                                "# Made by vmdk-dm-generator from vmdktab:1\n"
                                                "\n"
                                                "[Unit]\n"
                                                "SourcePath=vmdktab\n"
                                                "RequiresMountsFor=\"/srv/web.vmdk\"\n"
                                                "Wants=blockdev@dev-mapper-web.target\n"
                                                "Before=blockdev@dev-mapper-web.target\n"
                                                "Conflicts=umount.target\n"
                                                "Before=umount.target\n"
                                                "Before=vmdk-dm.target\n"
                                                "Wants=cryptsetup-pre.target\n"
                                                "Before=cryptsetup-pre.target\n"}});
    CHECK(units.links ==
          std::vector<UnitLink>{
              {"dev-mapper-web.device.requires/vmdk-dm@web.service", "/lib/systemd/system/vmdk-dm@.service"},
              {"vmdk-dm.target.requires/vmdk-dm@web.service", "/lib/systemd/system/vmdk-dm@.service"},
              {"sysinit.target.wants/vmdk-dm.target", "/lib/systemd/system/vmdk-dm.target"}});
}

TEST_CASE("an entry on a device gets a mount of its own, for as long as it is needed") {
    const Units units = units_of("web LABEL=HOST:/vm/web.vmdk\n");
    CHECK(text_of(units, "run-vmdk\\x2ddm-mnt-LABEL\\x3dHOST.mount") ==
          "# Made by vmdk-dm-generator from vmdktab:1\n"
          "\n"
          "[Unit]\n"
          "Description=File system of VMDK images (LABEL=HOST)\n"
          "Documentation=man:vmdktab(5)\n"
          "SourcePath=vmdktab\n"
          "DefaultDependencies=no\n"
          "StopWhenUnneeded=yes\n"
          "After=local-fs-pre.target\n"
          "Conflicts=umount.target\n"
          "Before=umount.target\n"
          "\n"
          "[Mount]\n"
          "What=/dev/disk/by-label/HOST\n"
          "Where=/run/vmdk-dm/mnt/LABEL=HOST\n"
          "Options=ro,nosuid,nodev,noexec\n"
          "LazyUnmount=yes\n");
    const std::string text = entry_text(units, "web");
    CHECK(has_line(text, "RequiresMountsFor=\"/run/vmdk-dm/mnt/LABEL=HOST\""));
    CHECK(has_line(text, "BindsTo=dev-disk-by\\x2dlabel-HOST.device"));
    CHECK(has_line(text, "After=dev-disk-by\\x2dlabel-HOST.device"));
    CHECK(has_link(units, "dev-disk-by\\x2dlabel-HOST.device.wants/vmdk-dm@web.service"));
}

TEST_CASE("entries on one device share its mount, which is writable when one of them writes") {
    const Units units = units_of(
        "a LABEL=HOST:/a.vmdk\n"
        "b LABEL=HOST:/b.vmdk overlay=/b.overlay,noauto,host-options=noatime\n");
    const std::string mount = text_of(units, "run-vmdk\\x2ddm-mnt-LABEL\\x3dHOST.mount");
    CHECK(has_line(mount, "Options=rw,nosuid,nodev,noexec,noatime"));
    // Lazily unmounted it could be left dirty.
    CHECK(mount.find("LazyUnmount") == std::string::npos);
    CHECK(units.files.size() == 3);
}

TEST_CASE("two entries that want one device mounted in different ways are refused") {
    const Units units = units_of(
        "a LABEL=HOST:/a.vmdk host-options=noatime\n"
        "b LABEL=HOST:/b.vmdk host-options=sync\n");
    REQUIRE(units.faults.size() == 1);
    CHECK(units.faults[0] ==
          "vmdktab:2:22: another entry of this device says host-options=noatime, and it is mounted once\n"
          "b LABEL=HOST:/b.vmdk host-options=sync\n"
          "                     ^");
}

TEST_CASE("a device that fstab mounts is not mounted a second time") {
    const Units units =
        units_of("web LABEL=HOST:/web.vmdk\n", {"/dev/disk/by-label/HOST /srv ext4\n", "", {}});
    CHECK(units.files.size() == 1);
    CHECK(has_line(entry_text(units, "web"), "RequiresMountsFor=\"/srv\""));
}

TEST_CASE("a subvolume or a bind mount is not where the paths of a device begin") {
    for (const std::string options : {"subvol=@srv", "bind"}) {
        const Units units =
            units_of("web LABEL=HOST:/web.vmdk\n", {concat("LABEL=HOST /srv btrfs ", options, "\n"), "", {}});
        CHECK(has_line(entry_text(units, "web"), "RequiresMountsFor=\"/run/vmdk-dm/mnt/LABEL=HOST\""));
    }
}

TEST_CASE("mounts of every file of the chain and of the options' paths are required") {
    const Units units = units_of(
        "web /srv/web.vmdk overlay=/var/ov/web,search-dir=/base,x-systemd.requires-mounts-for=/more\n",
        {"", "", {{"web", {"/srv/web.vmdk", "/srv/real/web.vmdk", "/base/b.vmdk", "/base/deep/c.vmdk"}}}});
    const std::string text = entry_text(units, "web");
    for (const std::string path : {"/srv/web.vmdk", "/srv/real", "/base/deep", "/var/ov/web", "/more"})
        CHECK(has_line(text, concat("RequiresMountsFor=\"", path, "\"")));
    CHECK_FALSE(has_line(text, "RequiresMountsFor=\"/base\""));
}

TEST_CASE("what a hostile descriptor names gets into no unit with a control character") {
    const Units units =
        units_of("web /srv/web.vmdk\n", {"", "", {{"web", {"/x\nExecStart=/bin/evil/y", "/ok/y"}}}});
    CHECK(entry_text(units, "web").find("evil") == std::string::npos);
    CHECK(has_line(entry_text(units, "web"), "RequiresMountsFor=\"/ok\""));
}

TEST_CASE("block devices as extents are waited for") {
    const Units units = units_of("web /srv/web.vmdk allow-devices\n",
                                 {"", "", {{"web", {"/srv/web.vmdk", "/dev/disk/by-id/x"}}}});
    CHECK(has_line(entry_text(units, "web"), "BindsTo=dev-disk-by\\x2did-x.device"));
    CHECK(has_line(entry_text(units, "web"), "After=dev-disk-by\\x2did-x.device"));
}

TEST_CASE("percent signs, quotes, backslashes and blanks of a path reach systemd as they are") {
    const Units units = units_of("web /a\\040%h\\134\"b.vmdk\n");
    CHECK(has_line(entry_text(units, "web"), R"(RequiresMountsFor="/a %%h\\\"b.vmdk")"));
    CHECK(mount_directory("LABEL=a b%/ä") == "/run/vmdk-dm/mnt/LABEL=a%20b%25%2f%c3%a4");
    CHECK(mount_directory("/dev/mapper/x") == "/run/vmdk-dm/mnt/dev:mapper%2fx");
}

TEST_CASE("a backslash at the end of a line takes no other line of a unit along") {
    for (const std::string line :
         {"web LABEL=a:/a.vmdk host-options=data\\134\n", "web LABEL=a:/a.vmdk x-note=1,host-options=\\134\n",
          "web /dev/a\\134:/a.vmdk\n"}) {
        const Units units = units_of(line + "other LABEL=a:/b.vmdk\n");
        INFO(line);
        REQUIRE_FALSE(units.faults.empty());
        CHECK(units.faults.front().find("a '\\' cannot stand at the end of a line of a unit") !=
              std::string::npos);
        for (const UnitFile& file : units.files) CHECK(file.text.find("\\\n") == std::string::npos);
    }
    CHECK(units_of("web LABEL=a\\134:/a.vmdk\n").faults.empty());
}

TEST_CASE("noauto is started by nothing but its devices' users") {
    const Units units =
        units_of("web /data/web.vmdk noauto\n", {"LABEL=D /data ext4\n/dev/mapper/web1 /web ext4\n", "", {}});
    CHECK(units.links.size() == 2);
    CHECK(has_link(units, "dev-mapper-web.device.requires/vmdk-dm@web.service"));
    CHECK(has_link(units, "dev-mapper-web1.device.requires/vmdk-dm@web.service"));
    CHECK_FALSE(has_line(entry_text(units, "web"), "Before=vmdk-dm.target"));
    CHECK(has_line(entry_text(units, "web"), "Before=blockdev@dev-mapper-web1.target"));
}

TEST_CASE("nofail holds up neither the target nor cryptsetup") {
    const Units units = units_of("web /srv/web.vmdk nofail\n");
    CHECK(has_link(units, "vmdk-dm.target.wants/vmdk-dm@web.service"));
    CHECK_FALSE(has_link(units, "vmdk-dm.target.requires/vmdk-dm@web.service"));
    CHECK_FALSE(has_line(entry_text(units, "web"), "Before=vmdk-dm.target"));
    CHECK_FALSE(has_line(entry_text(units, "web"), "Before=cryptsetup-pre.target"));
}

TEST_CASE("late, or on what crypttab opens: not before cryptsetup, which would be a cycle") {
    CHECK_FALSE(
        has_line(entry_text(units_of("web /srv/web.vmdk late\n"), "web"), "Before=cryptsetup-pre.target"));
    const Machine machine = {"/dev/mapper/vault /srv ext4\n", "vault /dev/sda3\n", {}};
    for (const std::string image : {"/srv/web.vmdk", "/dev/mapper/vault:/web.vmdk"})
        CHECK_FALSE(has_line(entry_text(units_of(concat("web ", image, "\n"), machine), "web"),
                             "Before=cryptsetup-pre.target"));
    CHECK(has_line(entry_text(units_of("web /var/web.vmdk\n", machine), "web"),
                   "Before=cryptsetup-pre.target"));
}

TEST_CASE("an image that comes over the network waits for it, and the local boot does not wait for that") {
    for (const std::string line : {"web /nfs/web.vmdk\n", "web LABEL=X:/web.vmdk _netdev\n"}) {
        const Units units = units_of(line, {"srv:/x /nfs nfs\n", "", {}});
        CHECK(has_line(entry_text(units, "web"), "After=remote-fs-pre.target network-online.target"));
        CHECK(has_line(entry_text(units, "web"), "Before=vmdk-dm-remote.target"));
        CHECK_FALSE(has_line(entry_text(units, "web"), "Before=cryptsetup-pre.target"));
        CHECK(has_link(units, "vmdk-dm-remote.target.requires/vmdk-dm@web.service"));
        CHECK(has_link(units, "multi-user.target.wants/vmdk-dm-remote.target"));
        CHECK_FALSE(has_link(units, "sysinit.target.wants/vmdk-dm.target"));
    }
    const Units units = units_of("web LABEL=X:/web.vmdk _netdev\n");
    CHECK(has_line(text_of(units, "run-vmdk\\x2ddm-mnt-LABEL\\x3dX.mount"),
                   "Options=ro,nosuid,nodev,noexec,_netdev"));
}

TEST_CASE("what the initramfs has attached is never stopped, and needs no mount of systemd's") {
    const Units units = units_of("root LABEL=HOST:/root.vmdk x-initrd.attach\n");
    CHECK(units.files.size() == 1);
    const std::string text = entry_text(units, "root");
    CHECK(text.find("umount.target") == std::string::npos);
    CHECK(text.find("RequiresMountsFor") == std::string::npos);
    CHECK(text.find("BindsTo") == std::string::npos);
    CHECK(has_link(units, "vmdk-dm.target.wants/vmdk-dm@root.service"));
}

TEST_CASE("fstab and crypttab find the disk whose partition they name") {
    const Units units = units_of(
        "web /srv/web.vmdk\n"
        "web1 /srv/web1.vmdk\n"
        "a-b /srv/ab.vmdk\n",
        {"/dev/mapper/web2 /a ext4\n"             // a partition of web
         "/dev/mapper/web1 /b ext4\n"             // a disk of that name
         "/dev/mapper/web1p3 /c ext4\n"           // a partition of that
         "/dev/disk/by-vmdk/a-b-part7 /d ext4\n"  // by our own link
         "/dev/mapper/webs1 /e ext4\n"            // nobody's
         "/dev/mapper/web1p /f ext4\n",
         "vault /dev/mapper/web4 none\n",
         {}});
    CHECK(has_link(units, "dev-mapper-web2.device.requires/vmdk-dm@web.service"));
    CHECK(has_link(units, "dev-mapper-web4.device.requires/vmdk-dm@web.service"));
    CHECK(has_link(units, "dev-mapper-web1.device.requires/vmdk-dm@web1.service"));
    CHECK_FALSE(has_link(units, "dev-mapper-web1.device.requires/vmdk-dm@web.service"));
    CHECK(has_link(units, "dev-mapper-web1p3.device.requires/vmdk-dm@web1.service"));
    CHECK(has_link(units, "dev-disk-by\\x2dvmdk-a\\x2db\\x2dpart7.device.requires/vmdk-dm@a\\x2db.service"));
    for (const UnitLink& link : units.links) {
        CHECK(link.path.find("webs1") == std::string::npos);
        CHECK(link.path.find("web1p.") == std::string::npos);
    }
}

TEST_CASE("a delimiter of the user's is heeded where the name of the partition has it") {
    const Units units =
        units_of("web /srv/web.vmdk delimiter=-p\n",
                 {"/dev/mapper/web-p2 /a ext4\n/dev/disk/by-vmdk/web-part3 /b ext4\n", "", {}});
    CHECK(has_link(units, "dev-mapper-web\\x2dp2.device.requires/vmdk-dm@web.service"));
    CHECK(has_link(units, "dev-disk-by\\x2dvmdk-web\\x2dpart3.device.requires/vmdk-dm@web.service"));
}

TEST_CASE("timeouts and the user's own dependencies") {
    const Units units = units_of(
        "web LABEL=H:/w.vmdk timeout=1min\\04030s,x-systemd.device-timeout=10,x-systemd.requires=a.service,"
        "x-systemd.after=/srv/x-y,x-systemd.before=/dev/sdq,x-systemd.wanted-by=b.target\n");
    const std::string text = entry_text(units, "web");
    CHECK(text.ends_with("\n[Service]\nTimeoutStartSec=90000000us\n"));
    CHECK(has_line(text, "Requires=a.service"));
    CHECK(has_line(text, "After=a.service"));
    CHECK(has_line(text, "After=srv-x\\x2dy.mount"));
    CHECK(has_line(text, "Before=dev-sdq.device"));
    CHECK(has_link(units, "b.target.wants/vmdk-dm@web.service"));
    CHECK_FALSE(has_link(units, "vmdk-dm.target.requires/vmdk-dm@web.service"));
    CHECK(has_line(text_of(units, "dev-disk-by\\x2dlabel-H.device.d/50-vmdktab.conf"),
                   "JobRunningTimeoutSec=10000000us"));
    CHECK(has_line(entry_text(units_of("w /w.vmdk timeout=infinity\n"), "w"), "TimeoutStartSec=infinity"));
}

TEST_CASE("a line that is wrong concerns that line only") {
    const Units units = units_of(
        "good /srv/good.vmdk\n"
        "bad\n"
        "worse /srv/w.vmdk x-systemd.requires=nonsense\n"
        "last /srv/last.vmdk\n");
    REQUIRE(units.faults.size() == 2);
    CHECK(units.faults[0].starts_with("vmdktab:2:"));
    CHECK(units.faults[1] ==
          "vmdktab:3:19: 'nonsense' is not the name of a unit (such as x.service)\n"
          "worse /srv/w.vmdk x-systemd.requires=nonsense\n"
          "                  ^");
    CHECK(units.files.size() == 2);
    CHECK(has_link(units, "vmdk-dm.target.requires/vmdk-dm@last.service"));
    for (const UnitLink& link : units.links) CHECK(link.path.find("worse") == std::string::npos);
}

TEST_CASE("a name that is too long once it is escaped is refused") {
    const Units units = units_of(concat("w", std::string(100, '-'), " /srv/w.vmdk\n"));
    REQUIRE(units.faults.size() == 1);
    CHECK(units.faults[0].find("is too long for the name of a unit") != std::string::npos);
    CHECK(units.files.empty());
}

}  // namespace
}  // namespace vmdkdm
