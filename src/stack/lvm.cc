#include "stack/lvm.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "base/concat.h"
#include "kernel/run_tool.h"

namespace vmdkdm {
namespace {

// As a pattern of lvm's that matches this path alone.
std::string pattern_of(const std::string& path) {
    std::string pattern;
    for (const char c : path) {
        const bool plain =
            std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '-' || c == '_';
        pattern += plain ? std::string(1, c) : concat("[", c, "]");
    }
    return concat("\"a|^", pattern, "$|\"");
}

std::string filter_of(const std::vector<std::string>& pvs) {
    std::string filter;
    for (const std::string& pv : pvs) filter += pattern_of(pv) + ",";
    return concat("[", filter, "\"r|.*|\"]");
}

// Thin and cache pools are checked by programs of another package; where it is missing lvm refuses the pool.
std::string checker(const std::string& setting, const std::string& program) {
    return ::access(program.c_str(), X_OK) == 0 ? "" : concat(" ", setting, "=\"\"");
}

std::string config_of(const std::vector<std::string>& pvs) {
    const std::string filter = filter_of(pvs);
    return concat(
        "devices{use_devicesfile=0 obtain_device_list_from_udev=0 external_device_info_source=\"none\" "
        "hints=\"none\" md_component_detection=0 multipath_component_detection=0 "
        "fw_raid_component_detection=0 scan_lvs=1 filter=",
        filter, " global_filter=", filter,
        "} backup{backup=0 archive=0} activation{monitoring=0} global{use_lvmpolld=0",
        checker("thin_check_executable", "/usr/sbin/thin_check"),
        checker("cache_check_executable", "/usr/sbin/cache_check"), "}");
}

}  // namespace

Lvm::Lvm(const std::vector<std::string>& pvs, const Kernel& kernel)
    : config_(config_of(pvs)), udev_(kernel.waits_for_udev()) {}

std::vector<LvmGroup> Lvm::report() const {
    std::vector<std::string> words = lvm_report_words();
    words.insert(words.end(), {"--readonly", "--foreign", "--shared"});
    return parse_lvm_report(run(std::move(words)));
}

void Lvm::import_clone(const std::vector<std::string>& pvs, const std::string& vg) const {
    std::vector<std::string> words{"vgimportclone", "--basevgname", vg, "--"};
    words.insert(words.end(), pvs.begin(), pvs.end());
    run(std::move(words));
}

void Lvm::rename(const std::string& vg, const std::string& to) const { run({"vgrename", "--", vg, to}); }

// Not polled: a move or a merge that the guest began would go on in a process that outlives us.
void Lvm::activate(const std::string& vg) const {
    run({"vgchange", "--activate", "y", "--poll", "n", "--", vg});
}
void Lvm::deactivate(const std::string& vg) const { run({"vgchange", "--activate", "n", "--", vg}); }

std::string Lvm::run(std::vector<std::string> words) const {
    words.insert(words.begin(), "lvm");
    words.insert(words.begin() + 2, {"--config", config_});
    // An empty LVM_SYSTEM_DIR: no lvm.conf, no devices file, no profiles.
    ToolCall call{std::move(words), "lvm2", {{"LVM_SYSTEM_DIR", ""}, {"LVM_SUPPRESS_FD_WARNINGS", "1"}}, 120};
    if (!udev_) call.environment.emplace_back("DM_DISABLE_UDEV", "1");
    return run_tool(call);
}

}  // namespace vmdkdm
