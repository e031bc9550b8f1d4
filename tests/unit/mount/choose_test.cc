#include "mount/choose.h"

#include <catch2/catch.hpp>

#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

class Survey {
  public:
    Survey() {
        disk_.name = "web";
        disk_.path = "/dev/mapper/web";
        disk_.device = {254, 0};
    }
    Volume& disk() { return disk_; }
    Volume& partition(unsigned number, const std::string& type = "", const std::string& label = "") {
        Volume& volume = add(disk_, VolumeKind::partition, "web" + std::to_string(number), type, label);
        volume.partition_number = number;
        return volume;
    }
    Volume& add(Volume& below, VolumeKind kind, const std::string& name, const std::string& type = "",
                const std::string& label = "") {
        Volume volume;
        volume.kind = kind;
        volume.name = name;
        volume.path = "/dev/mapper/" + name;
        volume.device = {254, ++minor_};
        volume.size = Bytes(1 << 20);
        if (!type.empty()) volume.content = content(type, label);
        below.children.reserve(8);  // references stay good
        return below.children.emplace_back(volume);
    }
    static VolumeContent content(const std::string& type, const std::string& label = "") {
        const bool container = type == "LVM2_member" || type == "crypto_LUKS";
        return {type,
                container        ? "crypto"
                : type == "swap" ? "other"
                                 : "filesystem",
                label, "uuid-" + label, ""};
    }
    std::string chosen(const std::string& wanted) const {
        return choose_file_system(disk_, wanted, "w.vmdk").name;
    }
    Failure refusal(const std::string& wanted) const {
        return failure_of([&] { choose_file_system(disk_, wanted, "w.vmdk"); });
    }

  private:
    Volume disk_;
    std::uint32_t minor_ = 0;
};

TEST_CASE("a whole disk and the only file system are meant without a word") {
    Survey whole;
    whole.disk().content = Survey::content("ext4");
    CHECK(whole.chosen("") == "web");
    Survey one;
    one.partition(1, "swap");
    one.partition(2, "ext4");
    CHECK(one.chosen("") == "web2");
}

TEST_CASE("one of several is named by number, name, path, label or UUID") {
    Survey survey;
    survey.partition(1, "vfat", "ESP");
    survey.partition(2, "ext4", "root");
    for (const char* wanted : {"2", "web2", "/dev/mapper/web2", "LABEL=root", "UUID=uuid-root"})
        CHECK(survey.chosen(wanted) == "web2");
    CHECK(survey.refusal("") == Failure{ErrorKind::refused,
                                        "a file system may be one of several; choose from:\n"
                                        "  w.vmdk:1  vfat 'ESP', 1.0 MiB\n"
                                        "  w.vmdk:2  ext4 'root', 1.0 MiB"});
    CHECK(survey.refusal("3").kind == ErrorKind::not_found);
    CHECK(survey.refusal("LABEL=boot").kind == ErrorKind::not_found);
}

TEST_CASE("what an opened container or a volume group holds alone is meant by its partition") {
    Survey survey;
    Volume& partition = survey.partition(1, "crypto_LUKS");
    CHECK(has_closed_container(survey.disk()));
    CHECK(survey.refusal("1") == Failure{ErrorKind::refused,
                                         "'1' holds no file system but crypto_LUKS; this is there:\n"
                                         "  w.vmdk:1  crypto_LUKS, 1.0 MiB (closed)"});
    Volume& opened = survey.add(partition, VolumeKind::crypt, "web1-crypt", "LVM2_member");
    survey.add(opened, VolumeKind::logical_volume, "vg0/root", "xfs");
    CHECK_FALSE(has_closed_container(survey.disk()));
    CHECK(survey.chosen("1") == "vg0/root");
    CHECK(survey.chosen("vg0/root") == "vg0/root");
    CHECK(survey.chosen("") == "vg0/root");
    survey.add(opened, VolumeKind::logical_volume, "vg0/swap", "swap");
    CHECK(survey.refusal("1").kind == ErrorKind::refused);
    CHECK(survey.chosen("") == "vg0/root");
}

TEST_CASE("nothing, swap and contradicting signatures are no file systems") {
    Survey survey;
    survey.partition(1);
    survey.partition(2, "swap");
    survey.partition(3).content = VolumeContent{ambiguous_content, "", "", "", ""};
    CHECK(survey.refusal("1").text.starts_with("'1' holds nothing that is known"));
    CHECK(survey.refusal("2").text.starts_with("'2' holds no file system but swap"));
    CHECK(survey.refusal("3").text.starts_with("'3' holds no file system but ambiguous"));
    CHECK(survey.refusal("").kind == ErrorKind::not_found);
}

}  // namespace
}  // namespace vmdkdm
