// A vmdktab, and the same text as an rd.vmdk=: whatever is in it, entries that print and read back, or
// errors.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/escaped.h"
#include "dm/device_name.h"
#include "fuzz/check.h"
#include "fuzz/mutate_text.h"
#include "tab/needs.h"
#include "tab/options.h"
#include "tab/tab.h"

namespace vmdkdm {
namespace {

using test::require;

bool is_same(const TabEntry& a, const TabEntry& b) {
    return a.name == b.name && a.image == b.image && a.options == b.options;
}

void check_message(std::string_view message) {
    require(!message.empty(), "an error has a text");
    require(escaped_lines(message) == message, "an error's lines are its own");
}

void check_entry(const TabEntry& entry) {
    check_name(entry.name);
    require(!why_no_path(entry.image.path), "the image's path is absolute and plain");
    for (const std::string& path : entry.option_paths())
        require(!why_no_path(path), "a path of an option is absolute and plain");
    for (const TabOption& option : entry.options) {
        require(!why_refused(option), "an option may stand in a table");
        require(option.offset < entry.text.size(), "an option has its place");
    }
    const std::vector<std::string> arguments = attach_arguments(entry, "/mnt");
    require(arguments.back().starts_with('/'), "the image is no option");
    for (const std::string& argument : arguments)
        for (const char c : argument)
            require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "no control character gets through");
    require(is_device_of("/dev/mapper/" + entry.name, entry), "an entry knows its device");

    const std::string line = print_tab_line(entry);
    const Tab again = parse_tab(line, "again");
    require(again.entries.size() == 1 && again.faults.empty(), "a printed line is right");
    require(is_same(again.entries.front(), entry), "a printed line reads back");
    require(print_tab_line(again.entries.front()) == line, "there is one spelling");
    if (entry.image.device.empty()) return;
    const std::string value = print_rd_vmdk(entry);
    require(value.find_first_of(" \t\n\"'") == std::string::npos, "the kernel does not split the value");
    require(is_same(parse_rd_vmdk(value), entry), "a printed value reads back");
}

void check_table(std::string_view text) {
    const Tab tab = parse_tab(text, "fuzz");
    std::set<std::string> names;
    std::size_t last = 0;
    for (const TabEntry& entry : tab.entries) {
        require(entry.line > last, "entries are in the order of their lines");
        last = entry.line;
        require(names.insert(entry.name).second, "no two entries have the same name");
        require(tab.find(entry.name) == &entry, "an entry is found");
        check_entry(entry);
    }
    last = 0;
    for (const TabFault& fault : tab.faults) {
        require(fault.line > last, "a line has one fault");
        last = fault.line;
        check_message(fault.error.what());
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_table(text);
    try {
        check_entry(parse_rd_vmdk(text));
    } catch (const TextError& error) {
        check_message(error.what());
    }
    entry_of_unit(text);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_text(data, size, max_size, seed);
}
