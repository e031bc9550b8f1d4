#include "tab/initrd.h"

#include <algorithm>

#include "base/concat.h"
#include "tab/device.h"

namespace vmdkdm {
namespace {

constexpr std::string_view key = "rd.vmdk=";

// A field ends at a blank.
std::string as_field(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == ' ' || c == '\t' || c == '\n'; }, '_');
    return text;
}

std::vector<std::string_view> values_of(std::string_view command_line) {
    constexpr std::string_view blanks = " \t\r\n";
    std::vector<std::string_view> values;
    while (true) {
        command_line.remove_prefix(std::min(command_line.find_first_not_of(blanks), command_line.size()));
        if (command_line.empty()) return values;
        const std::string_view word = command_line.substr(0, command_line.find_first_of(blanks));
        command_line.remove_prefix(word.size());
        if (word.starts_with(key)) values.push_back(word.substr(key.size()));
    }
}

bool switches_off(std::string_view value) { return value == "0" || value == "no" || value == "off"; }

void add_command_line(Tab& tab, const std::vector<std::string_view>& values) {
    for (const std::string_view value : values) try {
            TabEntry entry = parse_rd_vmdk(value);
            if (tab.find(entry.name) != nullptr)
                entry.fail(entry.name_offset, concat("another rd.vmdk= has the name '", entry.name, "' too"));
            tab.entries.push_back(std::move(entry));
        } catch (const TextError& error) {
            tab.faults.push_back({1, "", error});
        }
}

void add_table(Tab& tab, const Tab& table) {
    for (const TabEntry& entry : table.entries)
        if (entry.has("x-initrd.attach") && tab.find(entry.name) == nullptr) tab.entries.push_back(entry);
    for (const TabFault& fault : table.faults)
        if (std::string_view(fault.error.what()).find("x-initrd.attach") != std::string_view::npos)
            tab.faults.push_back(fault);
}

}  // namespace

Tab initrd_tab(std::string_view command_line, const Tab& table) {
    const std::vector<std::string_view> values = values_of(command_line);
    Tab tab;
    if (std::any_of(values.begin(), values.end(), switches_off)) return tab;
    add_command_line(tab, values);
    add_table(tab, table);
    return tab;
}

std::string print_initrd_tab(const Tab& tab) {
    std::string text;
    for (const TabEntry& entry : tab.entries) {
        const std::string& device = entry.image.device;
        const bool of_command_line = entry.file_name == command_line_name;
        text += concat("# ", device_path(device), " ", entry.nofail() ? "nofail" : "needed", " ",
                       as_field(of_command_line ? concat(key, entry.text) : entry.place()), " ",
                       device_mount_options(tab, device), "\n", print_tab_line(entry), "\n");
    }
    return text;
}

}  // namespace vmdkdm
