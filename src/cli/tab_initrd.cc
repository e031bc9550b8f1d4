// vmdk-dm tab initrd: what the scripts of an initramfs must know of its entries (initramfs/vmdk-dm-lib.sh).
#include <memory>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/printer.h"
#include "cli/tab.h"
#include "tab/initrd.h"

namespace vmdkdm {
namespace {

struct InitrdOptions {
    std::string command_line;
    std::string table_file = default_tab_file;
};

Tab table_if_any(const std::string& file) {
    try {
        return read_tab(file);
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) return {};
        throw;
    }
}

// What is wrong with one entry does not keep the others from being attached.
void run(const InitrdOptions& options) {
    const Tab tab = initrd_tab(options.command_line, table_if_any(options.table_file));
    out().lines(print_initrd_tab(tab));
    for (const TabFault& fault : tab.faults) print_error(fault.error);
    if (!tab.faults.empty()) throw ExitStatus{static_cast<int>(ErrorKind::format)};
}

}  // namespace

void add_tab_initrd_command(Command& tab) {
    Command command = tab.add_command("initrd", "The table of an initramfs, for its scripts");
    command.hide();
    const auto options = std::make_shared<InitrdOptions>();
    command.add_option("--command-line", options->command_line, "TEXT", "The kernel's");
    command.add_option("--table-file", options->table_file, "FILE", "The table");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
