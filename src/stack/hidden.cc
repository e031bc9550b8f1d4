#include "stack/hidden.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/owners.h"
#include "kernel/run_tool.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view rules_directory = "/run/udev/rules.d";
constexpr std::string_view infix = "-vmdk-dm-";
constexpr std::string_view suffix = ".rules";

// One text in three places. 12: behind the rules that read what lvm wants of a volume (upstream 10-dm,
// 11-dm-lvm), and before those that look into it (13-dm-disk). 59: likewise for Debian (55-dm, 56-lvm;
// 60-persistent-storage-dm). 63: behind 63-md-raid-arrays, which heeds no flag, so that what it has found is
// not there for the rules that follow.
constexpr std::array<std::string_view, 3> places = {"12", "59", "63"};

// What a rule is for stands in its name: the beginning of a dm UUID, or the member of an array.
constexpr std::string_view group_subject = "LVM-";
constexpr std::string_view array_subject = "md-";

std::string rule_path(std::string_view place, const std::string& subject) {
    return concat(rules_directory, "/", place, infix, subject, suffix);
}

// None when it is no rule of ours.
std::optional<std::string> subject_of(const std::string& file_name) {
    const std::size_t at = file_name.find(infix);
    if (at != 2 || !file_name.ends_with(suffix)) return std::nullopt;
    const std::string subject =
        file_name.substr(at + infix.size(), file_name.size() - at - infix.size() - suffix.size());
    if (!subject.starts_with(group_subject) && !subject.starts_with(array_subject)) return std::nullopt;
    return subject;
}

std::string text_of_rule(const std::vector<std::string>& matches) {
    std::string text =
        "# Of vmdk-dm: what is made of a stranger's disk is left alone. It goes with vmdk-dm deactivate.\n"
        "SUBSYSTEM!=\"block\", GOTO=\"vmdk_dm_end\"\n"
        "ACTION==\"remove\", GOTO=\"vmdk_dm_end\"\n";
    for (const std::string& match : matches) text += concat(match, ", GOTO=\"vmdk_dm_hidden\"\n");
    text +=
        "GOTO=\"vmdk_dm_end\"\n"
        "LABEL=\"vmdk_dm_hidden\"\n"
        "ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}=\"1\", ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}=\"1\"\n"
        "ENV{UDISKS_IGNORE}=\"1\", ENV{ANACONDA}=\"vmdk-dm\"\n"
        "KERNEL==\"md*\", ENV{SYSTEMD_READY}=\"0\", SYMLINK:=\"\", OPTIONS:=\"nowatch\"\n";
    for (const std::string_view key :
         {"ID_FS_TYPE", "ID_FS_USAGE", "ID_FS_VERSION", "ID_FS_UUID", "ID_FS_UUID_ENC", "ID_FS_LABEL",
          "ID_FS_LABEL_ENC", "ID_PART_TABLE_TYPE", "ID_PART_TABLE_UUID", "ID_PART_ENTRY_SCHEME",
          "ID_PART_ENTRY_UUID", "ID_PART_ENTRY_NAME", "ID_PART_ENTRY_TYPE"})
        text += concat("ENV{", key, "}=\"\"\n");
    return text + "LABEL=\"vmdk_dm_end\"\n";
}

// With its name only once it is whole.
void write_rule(const std::string& path, const std::string& text) {
    const std::string temporary = concat(path, ".", ::getpid());
    std::ofstream out(temporary, std::ios::trunc);
    out << text;
    out.close();
    if (!out || ::rename(temporary.c_str(), path.c_str()) != 0) {
        const int error = errno;
        ::unlink(temporary.c_str());
        throw system_error(concat("cannot write ", path), error);
    }
}

// Returns when udevd has thrown away the rules that it knew, and the workers that knew them.
void reload_rules() { run_tool({{"udevadm", "control", "--reload", "--timeout=30"}, "udev", {}, 60}); }

std::string kernel_name(DeviceNumber device) {
    std::error_code error;
    const fs::path link = fs::read_symlink(concat("/sys/dev/block/", to_string(device)), error);
    if (error) throw system_error(concat("cannot find device ", to_string(device)), error.value());
    return link.filename().string();
}

bool has_array_of(const std::string& member) {
    std::error_code ignored;
    for (const auto& device : fs::directory_iterator("/sys/block", ignored))
        if (fs::exists(device.path() / "md" / concat("dev-", member), ignored)) return true;
    return false;
}

bool is_there(const std::string& subject, const std::vector<DmInfo>& devices) {
    if (subject.starts_with(array_subject)) return has_array_of(subject.substr(array_subject.size()));
    return std::any_of(devices.begin(), devices.end(),
                       [&](const DmInfo& device) { return device.uuid.starts_with(subject); });
}

UniqueFd lock_rules() {
    UniqueFd lock(::open(std::string(rules_directory).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    while (lock && ::flock(lock.get(), LOCK_EX) != 0)
        if (errno != EINTR) lock.reset();
    return lock;
}

std::vector<std::pair<fs::path, std::string>> rules_of_ours() {
    std::vector<std::pair<fs::path, std::string>> rules;
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(rules_directory, ignored))
        if (const auto subject = subject_of(file.path().filename().string()))
            rules.emplace_back(file.path(), *subject);
    return rules;
}

void drop_old_rules_of(Kernel& kernel) {
    const std::vector<DmInfo> devices = kernel.list_devices();
    bool any = false;
    for (const auto& [path, subject] : rules_of_ours())
        if (!is_there(subject, devices)) any = ::unlink(path.c_str()) == 0 || any;
    if (any) reload_rules();
}

// What udev's record says of a device that only the rules just made can have hidden.
bool is_hidden(Kernel& kernel, const std::string& probe_uuid) {
    bool hidden = false;
    {
        const MappedDevice probe =
            MappedDevice::create(kernel, concat("vmdkdm_probe_", ::getpid()), probe_uuid,
                                 Table({{Sectors(0), Sectors(8), ZeroTarget{}}}), true, DeviceRole::exposed);
        kernel.settle();
        for (const DmInfo& device : kernel.list_devices())
            if (device.uuid == probe_uuid) hidden = kernel.is_exposed(device) == false;
    }
    kernel.settle();
    return hidden;
}

}  // namespace

std::string why_not_hidden(Kernel& kernel) {
    if (kernel.waits_for_udev() || !kernel.may_be_overheard()) return {};
    return "an udevd that may hear of it cannot be told to leave it alone (--no-udev, a container?)";
}

HiddenDevices::HiddenDevices(Kernel& kernel) : kernel_(kernel) {
    if (!kernel.waits_for_udev()) return;
    fs::create_directories(rules_directory);
    lock_ = lock_rules();
    if (!lock_) throw system_error(concat("cannot lock ", rules_directory), errno);
}

void HiddenDevices::hide_group(const std::string& vg_uuid) {
    std::string uuid = vg_uuid;
    std::erase(uuid, '-');
    hide(concat(group_subject, uuid), {concat("ATTR{dm/uuid}==\"", group_subject, uuid, "*\"")});
}

// An array is known by its member: nothing else of it is ours, and a clone has the original's UUID. A member
// is known by its own UUID, so that the rule says nothing of a later device of its number.
void HiddenDevices::hide_array(const std::vector<DeviceNumber>& members) {
    const std::vector<DmInfo> mapped = kernel_.list_devices();
    std::vector<std::string> matches;
    for (const DeviceNumber& member : members) {
        const std::string name = kernel_name(member);
        const auto device = std::find_if(mapped.begin(), mapped.end(),
                                         [&](const DmInfo& info) { return info.device == member; });
        for (const std::string_view directory : {"md/dev-", "../md/dev-"})  // of a partition
            matches.push_back(device == mapped.end()
                                  ? concat("KERNEL==\"md*\", TEST==\"", directory, name, "\"")
                                  : concat("KERNEL==\"md*\", ATTR{", directory, name, "/block/dm/uuid}==\"",
                                           device->uuid, "\""));
    }
    hide(concat(array_subject, kernel_name(members.front())), matches);
}

void HiddenDevices::hide(const std::string& subject, const std::vector<std::string>& matches) {
    if (const std::string why = why_not_hidden(kernel_); !why.empty()) throw Error(ErrorKind::refused, why);
    if (!kernel_.waits_for_udev()) return;
    drop_old_rules_of(kernel_);
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    const std::string probe_uuid = concat("VMDKPROBE-", ::getpid(), "-", now);
    std::vector<std::string> all = matches;
    all.push_back(concat("ATTR{dm/uuid}==\"", probe_uuid, "\""));
    for (const std::string_view place : places) write_rule(rule_path(place, subject), text_of_rule(all));
    reload_rules();
    if (!is_hidden(kernel_, probe_uuid))
        throw Error(ErrorKind::refused, concat("udevd does not follow the rule in ", rules_directory,
                                               " that keeps it from looking into what is made"));
}

void drop_old_rules(Kernel& kernel) noexcept {
    try {
        if (!kernel.waits_for_udev() || rules_of_ours().empty()) return;
        if (const UniqueFd lock = lock_rules()) drop_old_rules_of(kernel);
    } catch (const std::exception&) {
        return;
    }
}

}  // namespace vmdkdm
