// vmdk-dm attach: the disk and its partitions under /dev/mapper; or those of vmdktab's entries.
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/attach_image.h"
#include "cli/attach_table.h"
#include "cli/cli.h"
#include "cli/printer.h"
#include "tab/tab.h"

namespace vmdkdm {
namespace {

struct CommandOptions {
    AttachCommandOptions attach;
    bool table = false;
    std::string table_file = default_tab_file;
    std::vector<std::string> more;  // names, after the first
};

void attach_one(const AttachCommandOptions& options) {
    attach_image(options, [&](const AttachedImage& attached, const SignalDelay& delay) {
        print_notes(attached.notes);
        if (options.json)
            print_json(attached.description);
        else
            for (const std::string& path : attached.paths) out() << path << "\n";
        out().flush();
        // A signal that comes when the disk stands already comes too late: the paths are printed, the status
        // is 0.
        delay.discard();
    });
}

// What stands in the table cannot be said for all entries at once.
void refuse_options_of_an_image(const Command& command) {
    for (const OptionUse& option : command.options()) {
        const bool fits = option.is_argument || option.name == "table" || option.name == "table-file" ||
                          option.name == "json" || option.name == "progress";
        if (option.given && !fits)
            throw Error(ErrorKind::usage, concat("--table and --", option.name,
                                                 " exclude each other: with --table the options of an "
                                                 "image stand in its line (see vmdktab(5))"));
    }
}

void run(const CommandOptions& options, const Command& command) {
    const std::string& image = options.attach.image.image;
    if (!options.table) {
        if (image.empty()) throw Error(ErrorKind::usage, "IMAGE is required (see vmdk-dm attach --help)");
        if (!options.more.empty())
            throw Error(ErrorKind::usage, concat("unexpected argument '", options.more.front(),
                                                 "': one image at a time (see vmdk-dm attach --help)"));
        return attach_one(options.attach);
    }
    refuse_options_of_an_image(command);
    std::vector<std::string> names = options.more;
    if (!image.empty()) names.insert(names.begin(), image);
    attach_table({options.table_file, names, options.attach.preparation.progress, options.attach.json});
}

}  // namespace

void add_attach_command(Command& app) {
    Command command =
        app.add_command("attach", "Make an image's disk and partitions appear under /dev/mapper");
    const auto options = std::make_shared<CommandOptions>();
    add_attach_options(command, options->attach);
    // Not needed with --table, where NAMEs stand in its place.
    command.option("IMAGE").required(false);
    command.add_argument("NAME", options->more, "With --table: entries, instead of all that are not noauto");
    const Option table =
        command.add_flag("--table", options->table, "Attach what vmdktab(5) says, not an IMAGE");
    command.add_option("--table-file", options->table_file, "FILE", "The table (default: /etc/vmdktab)")
        .needs(table);
    command.on_run([options, command] { run(*options, command); });
}

}  // namespace vmdkdm
