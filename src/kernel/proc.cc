#include "kernel/proc.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/concat.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// The kernel writes blank, tab, newline and backslash as \ooo.
std::string unescape_octal(const std::string& text) {
    std::string plain;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool is_escape = text[i] == '\\' && i + 3 < text.size() && std::isdigit(text[i + 1]) != 0;
        plain += is_escape ? static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)) : text[i];
        if (is_escape) i += 3;
    }
    return plain;
}

}  // namespace

std::vector<MountEntry> mounts_of_process(const std::string& pid) {
    std::vector<MountEntry> mounts;
    std::ifstream in(concat("/proc/", pid, "/mountinfo"));
    // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    for (std::string line; std::getline(in, line);) {
        std::istringstream fields(line);
        std::string parent;
        std::string device;
        std::string root;
        MountEntry mount;
        fields >> mount.id >> parent >> device >> root >> mount.mount_point;
        for (std::string field; fields >> field && field != "-";) continue;
        fields >> mount.type >> mount.source;
        unsigned device_major = 0;
        unsigned device_minor = 0;
        if (std::sscanf(device.c_str(), "%u:%u", &device_major, &device_minor) != 2) continue;
        mount.device = makedev(device_major, device_minor);
        mount.mount_point = unescape_octal(mount.mount_point);
        mount.source = unescape_octal(mount.source);
        mounts.push_back(std::move(mount));
    }
    return mounts;
}

void for_each_process(const std::function<void(const std::string& pid)>& visit) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
        const std::string pid = entry.path().filename().string();
        const bool is_process =
            std::all_of(pid.begin(), pid.end(), [](unsigned char c) { return std::isdigit(c); });
        if (is_process) visit(pid);
    }
}

std::vector<std::string> processes_by_mount_namespace() {
    std::vector<std::string> pids = {"self"};
    std::error_code ignored;
    std::set<fs::path> seen = {fs::read_symlink("/proc/self/ns/mnt", ignored)};
    for_each_process([&](const std::string& pid) {
        std::error_code gone;
        const fs::path space = fs::read_symlink(concat("/proc/", pid, "/ns/mnt"), gone);
        if (!gone && seen.insert(space).second) pids.push_back(pid);
    });
    return pids;
}

std::vector<std::string> processes_on_file_system(dev_t device) {
    const auto is_on_it = [device](const fs::path& link) {
        struct stat status = {};
        return ::stat(link.c_str(), &status) == 0 && status.st_dev == device;
    };
    std::vector<std::string> found;
    for_each_process([&](const std::string& pid) {
        const fs::path process = fs::path("/proc") / pid;
        bool uses = is_on_it(process / "cwd") || is_on_it(process / "root") || is_on_it(process / "exe");
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(process / "fd", ignored))
            uses = uses || is_on_it(entry.path());
        if (uses) found.push_back(describe_process(pid));
    });
    return found;
}

std::string describe_process(const std::string& pid) {
    std::ifstream in(concat("/proc/", pid, "/comm"));
    std::string command;
    std::getline(in, command);
    return concat("process ", pid, " (", command, ")");
}

}  // namespace vmdkdm
