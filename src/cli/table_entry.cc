#include "cli/table_entry.h"

#include <filesystem>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"
#include "mount/where_mounted.h"
#include "tab/options.h"

namespace vmdkdm {
namespace {

AttachCommandOptions parse(std::vector<std::string> words) {
    Program program;
    AttachCommandOptions options;
    add_attach_options(program.top(), options);
    program.run(std::move(words));
    return options;
}

std::string words_of(const WordsError& error, const TabOption& option) {
    if (!error.unknown.empty())
        return concat("unknown option '", option.name,
                      "' (expected one of vmdk-dm attach, without '--', or of "
                      "vmdktab(5))");
    return error.what();
}

// One by one, so that it is known which is wrong.
void check_option(const TabEntry& entry, const TabOption& option) {
    try {
        parse({attach_argument(entry, option, ""), "/image"});
    } catch (const WordsError& error) {
        entry.fail(option.offset, printable(words_of(error, option)));
    }
}

}  // namespace

AttachCommandOptions attach_options_of(const TabEntry& entry, const std::string& device_directory) {
    for (const TabOption& option : entry.options)
        if (!is_boot_word(option.name)) check_option(entry, option);
    try {
        return parse(attach_arguments(entry, device_directory));
    } catch (const WordsError& error) {
        entry.fail(entry.options.empty() ? entry.name_offset : entry.options.front().offset,
                   printable(error.what()));
    }
}

std::string device_directory_of(const TabEntry& entry) {
    if (entry.image.device.empty()) return "";
    const std::string node = find_device(entry.image.device);
    const auto directory = where_mounted(node, entry.writes());
    if (directory) return *directory;
    throw Error(ErrorKind::not_found,
                concat("the file system of ", entry.image.device,
                       node == entry.image.device ? "" : concat(" (", node, ")"),
                       " is not mounted (vmdk-dm never mounts it; try: mount ", node, " /mnt)"));
}

void check_paths_on_device(const TabEntry& entry, const std::string& device_directory) {
    if (entry.image.device.empty()) return;
    std::vector<std::string> paths = entry.option_paths();
    paths.push_back(entry.image.path);
    for (const std::string& path : paths) {
        const std::string local = local_path(entry, path, device_directory);
        if (!is_on_mount(local, device_directory))
            throw Error(ErrorKind::refused,
                        concat("'", local, "' is not on the file system of ", entry.image.device,
                               ": a symlink or another mount leads elsewhere"));
    }
}

}  // namespace vmdkdm
