// vmdk-dm generate-cmdline: what the kernel's command line must say so that the initramfs attaches an image.
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/device_entry.h"
#include "cli/printer.h"
#include "cli/table_entry.h"
#include "tab/options.h"
#include "tab/tab.h"

namespace vmdkdm {
namespace {

struct GenerateOptions {
    std::string wanted;
    std::string name;
    std::string options;
    std::string table_file = default_tab_file;
};

// Of the boot's own words those that the initramfs has a use for.
bool is_for_initramfs(const TabOption& option) {
    return !is_boot_word(option.name) || option.name == "timeout" || option.name == "host-options" ||
           option.name == "nofail";
}

// A text without a '/' may be a name; then that of an entry comes first.
std::optional<TabEntry> entry_of_table(const GenerateOptions& options) {
    if (options.wanted.find('/') != std::string::npos) return std::nullopt;
    try {
        const Tab tab = read_tab(options.table_file);
        const TabEntry* const entry = tab.find(options.wanted);
        return entry == nullptr ? std::nullopt : std::optional(*entry);
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) return std::nullopt;
        throw;
    }
}

TabEntry wanted_entry(const GenerateOptions& options) {
    const std::vector<TabOption> more = parse_tab_options(options.options, "--options");
    std::optional<TabEntry> entry = entry_of_table(options);
    if (!entry) return entry_for_image(options.wanted, options.name, more);
    if (!options.name.empty())
        throw Error(ErrorKind::usage, concat("'", options.wanted, "' is an entry of '", options.table_file,
                                             "' and has its name"));
    entry->options.insert(entry->options.end(), more.begin(), more.end());
    return *entry;
}

void run(const GenerateOptions& options) {
    with_context(concat("cannot make an rd.vmdk= for '", options.wanted, "'"), [&] {
        TabEntry entry = wanted_entry(options);
        // What is wrong with an option is said of the line that will be printed.
        Tab tab = parse_tab(print_tab_line(entry), "the entry");
        if (!tab.faults.empty()) throw tab.faults.front().error;
        entry = std::move(tab.entries.at(0));
        attach_options_of(entry, "");
        std::erase_if(entry.options, [](const TabOption& option) { return !is_for_initramfs(option); });
        // A root is looked for by what udev finds on the disk.
        if (!entry.has("expose")) entry.options.insert(entry.options.begin(), {"expose", std::nullopt, 0});
        const std::string value = print_rd_vmdk(as_device_entry(entry));
        out() << "rd.vmdk=" << value << "\n";
    });
}

}  // namespace

void add_generate_cmdline_command(Command& app) {
    Command command =
        app.add_command("generate-cmdline", "Print the rd.vmdk= of the kernel's command line for an image");
    const auto options = std::make_shared<GenerateOptions>();
    command.add_argument("IMAGE|NAME", options->wanted, "The image, or an entry of vmdktab(5)").required();
    command.add_option("--name", options->name, "NAME",
                       "Name of the device (default: the image's name without .vmdk)");
    command.add_option("-o,--options", options->options, "OPTIONS",
                       "Options as in vmdktab(5), besides expose; paths are those of this machine");
    command.add_option("--table-file", options->table_file, "FILE",
                       "The table of entries (default: /etc/vmdktab)");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
