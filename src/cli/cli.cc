#include "cli/cli.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <new>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "confine/capabilities.h"
#include "version.h"

namespace vmdkdm {
namespace {

// A disk in a thousand pieces needs two descriptors a piece while it is attached.
void raise_open_files_limit() {
    struct rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

struct Command {
    std::string_view name;
    void (*add)(CLI::App&);
};

// In the order of --help.
constexpr Command all_commands[] = {
    {"attach", add_attach_command},
    {"detach", add_detach_command},
    {"mount", add_mount_command},
    {"umount", add_umount_command},
    {"shell", add_shell_command},
    {"run", add_run_command},
    {"copy-out", add_copy_out_command},
    {"list", add_list_command},
    {"info", add_info_command},
    {"map", add_map_command},
    {"table", add_table_command},
    {"compact", add_compact_command},
    {"hash", add_hash_command},
    {"verify", add_verify_command},
    {"cache", add_cache_command},
    {"check", add_check_command},
    {"overlay", add_overlay_command},
    {"filesystems", add_filesystems_command},
    {"activate", add_activate_command},
    {"deactivate", add_deactivate_command},
    {"tab", add_tab_command},
    {"generate-cmdline", add_generate_cmdline_command},
    {"udev-link", add_udev_link_command},
    {"embedded-init", add_embedded_init_command},
};

// The one that is named, alone where one is: the options of all of them take a third of the time of a start.
void add_commands(CLI::App& app, int argc, char** argv) {
    for (const Command& command : all_commands)
        if (argc > 1 && command.name == argv[1]) return command.add(app);
    for (const Command& command : all_commands) command.add(app);
}

// What CLI11 would say of a command or an option that it does not know names neither.
void refuse_unknown_words(const CLI::App& app, int argc, char** argv, int at = 1) {
    const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
    if (commands.empty() || at >= argc || argv[at][0] == '-') return;
    for (const CLI::App* command : commands)
        if (command->get_name() == argv[at]) return refuse_unknown_words(*command, argc, argv, at + 1);
    throw Error(ErrorKind::usage, concat("'", argv[at], "' is not a command (see vmdk-dm ",
                                         at == 1 ? "" : app.get_name() + " ", "--help)"));
}

// "overlay" and then "info".
std::vector<const CLI::App*> chosen_commands(const CLI::App& app) {
    std::vector<const CLI::App*> commands;
    for (auto below = app.get_subcommands(); !below.empty(); below = commands.back()->get_subcommands())
        commands.push_back(below.front());
    return commands;
}

int report_usage(const CLI::App& app, const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
    const std::vector<const CLI::App*> commands = chosen_commands(app);
    const CLI::App& command = commands.empty() ? app : *commands.back();
    std::string message = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
        const std::vector<std::string> words = command.remaining();
        const auto option = std::find_if(words.begin(), words.end(),
                                         [](const std::string& word) { return word.starts_with('-'); });
        message = option != words.end()
                      ? concat("unknown option '", *option, "'")
                      : concat("unexpected argument '", words.empty() ? "" : words.back(), "'");
    }
    std::cerr << "vmdk-dm: " << message << " (see vmdk-dm ";
    for (const CLI::App* each : commands) std::cerr << each->get_name() << " ";
    std::cerr << "--help)\n";
    return static_cast<int>(ErrorKind::usage);
}

// These look at files, and make some. Of the others each needs the kernel's devices.
constexpr std::string_view file_commands[] = {"info", "map", "table", "check", "hash", "verify"};

void drop_unneeded_powers(int argc, char** argv) {
    if (argc > 1 && std::find(std::begin(file_commands), std::end(file_commands),
                              std::string_view(argv[1])) != std::end(file_commands))
        keep_file_access_only();
}

int parse_and_run(CLI::App& app, int argc, char** argv) {
    try {
        app.parse(argc, argv);
        return 0;
    } catch (const ExitStatus& exit) {
        return exit.status;
    }
}

int report(const Error& error) {
    const bool says_where = dynamic_cast<const TextError*>(&error) != nullptr;
    std::cerr << (says_where ? "" : "vmdk-dm: ") << error.what() << "\n";
    return static_cast<int>(error.kind());
}

// Commands whose work stands by the time that they print it.
[[noreturn]] void throw_unprinted(const CLI::App& app) {
    static constexpr std::array lasting = {"attach", "mount", "activate"};
    const std::string command =
        app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name();
    const bool lasts = std::find(lasting.begin(), lasting.end(), command) != lasting.end();
    throw Error(ErrorKind::system,
                concat("cannot write to standard output",
                       lasts ? concat(" what '", command, "' has made; it stays (see vmdk-dm list)") : ""));
}

}  // namespace

int run_command_line(int argc, char** argv) {
    CLI::App app(
        "Attaches VMware disks (VMDK) as /dev/mapper devices, in place and at the speed of the kernel.",
        "vmdk-dm");
    app.set_version_flag("--version", "vmdk-dm " VMDK_DM_VERSION);
    app.require_subcommand(1);
    // The commands take them over, so they come first.
    app.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app.get_formatter()->label("Subcommands", "Commands");
    app.get_formatter()->label("REQUIRED", "");
    app.get_formatter()->label("TEXT", "");
    app.footer("vmdk-dm COMMAND --help shows the options of a command; vmdk-dm(8) is the manual.");
    add_commands(app, argc, argv);

    raise_open_files_limit();
    try {
        refuse_unknown_words(app, argc, argv);
        drop_unneeded_powers(argc, argv);
        const int status = parse_and_run(app, argc, argv);
        std::cout.flush();
        if (!std::cout) throw_unprinted(app);
        return status;
    } catch (const CLI::ParseError& error) {
        return report_usage(app, error);
    } catch (const Error& error) {
        return report(error);
    } catch (const std::bad_alloc&) {
        return report(
            Error(ErrorKind::system, "there is not enough memory for this (see ulimit -v, and free(1))"));
    } catch (const std::exception& error) {
        return report(Error(ErrorKind::system, error.what()));
    }
}

}  // namespace vmdkdm
