#include "stack/array.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/run_tool.h"

namespace vmdkdm {
namespace {

// mdadm refuses a second array of the same UUID, which a clone beside its original is, by the list that it
// keeps in /run/mdadm; the kernel does not mind. So it is shown an empty list, and makes its links itself:
// udev's rules would ask for their names there.
std::string run_mdadm(std::vector<std::string> words) {
    words.insert(words.begin(), "mdadm");
    ToolCall call{std::move(words), "mdadm", {{"MDADM_NO_UDEV", "1"}}, 120, "/run/mdadm", "map"};
    return run_tool(call);
}

// Lines of KEY=VALUE.
std::map<std::string, std::string> parse_export(const std::string& text) {
    std::map<std::string, std::string> values;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        if (const std::size_t equals = line.find('='); equals != std::string::npos)
            values[line.substr(0, equals)] = line.substr(equals + 1);
    return values;
}

}  // namespace

bool is_array_member(const Volume& volume) {
    return volume.content && volume.content->type == "linux_raid_member";
}

ArrayMember examine_member(const std::string& path) {
    std::map<std::string, std::string> values = parse_export(run_mdadm({"--examine", "--export", path}));
    ArrayMember member;
    member.path = path;
    member.array = values["MD_UUID"];
    if (member.array.empty())
        throw Error(ErrorKind::format, concat("mdadm finds no member of an array on ", path));
    // "host:name"; the host is of no interest here.
    const std::string& name = values["MD_NAME"];
    const std::size_t colon = name.find(':');
    member.name = colon == std::string::npos ? name : name.substr(colon + 1);
    member.device_uuid = values["MD_DEV_UUID"];
    std::istringstream(values["MD_DEVICES"]) >> member.devices;
    return member;
}

std::string array_path(const std::string& disk, const ArrayMember& member) {
    // What has no name of its own is called after its UUID.
    std::string name = member.name.empty() ? member.array.substr(0, 8) : member.name;
    std::replace_if(
        name.begin(), name.end(),
        [](unsigned char c) {
            return std::isalnum(c) == 0 &&
                   std::string_view("+-.=@_").find(static_cast<char>(c)) == std::string_view::npos;
        },
        '_');
    return concat("/dev/md/", disk, "-", name);
}

void assemble_array(const std::string& path, const std::vector<std::string>& members) {
    std::vector<std::string> words{"--assemble", path, "--config=none", "--readonly", "--run"};
    words.insert(words.end(), members.begin(), members.end());
    try {
        run_mdadm(std::move(words));
    } catch (const Error&) {
        // Of what cannot run, its device may be there all the same.
        if (std::filesystem::exists(path)) stop_array(path);
        throw;
    }
}

void stop_array(const std::string& path) {
    run_mdadm({"--stop", path});
    // The link stays where no udevd removes it, and the node that it leads to goes a moment later.
    std::error_code ignored;
    if (std::filesystem::is_symlink(path, ignored)) std::filesystem::remove(path, ignored);
}

}  // namespace vmdkdm
