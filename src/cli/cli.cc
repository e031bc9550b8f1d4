#include "cli/cli.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <vector>

#include "base/close_on_exec.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/printer.h"
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

struct NamedCommand {
    std::string_view name;
    void (*add)(Command&);
};

// In the order of --help.
constexpr NamedCommand all_commands[] = {
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
void add_commands(Command& top, int argc, char** argv) {
    for (const NamedCommand& command : all_commands)
        if (argc > 1 && command.name == argv[1]) return command.add(top);
    for (const NamedCommand& command : all_commands) command.add(top);
}

// What the parser would say of a command that it does not know does not name it.
void refuse_unknown_words(const Command& command, int argc, char** argv, int at = 1) {
    const std::vector<Command> commands = command.commands();
    if (commands.empty() || at >= argc || argv[at][0] == '-') return;
    for (const Command& below : commands)
        if (below.name() == argv[at]) return refuse_unknown_words(below, argc, argv, at + 1);
    throw Error(ErrorKind::usage, concat("'", argv[at], "' is not a command (see vmdk-dm ",
                                         at == 1 ? "" : command.name() + " ", "--help)"));
}

// Nor does it name an option or an argument that it does not know.
std::string message_of(const WordsError& error) {
    if (error.unknown.empty()) return error.what();
    const auto option = std::find_if(error.unknown.begin(), error.unknown.end(),
                                     [](const std::string& word) { return word.starts_with('-'); });
    return option != error.unknown.end() ? concat("unknown option '", *option, "'")
                                         : concat("unexpected argument '", error.unknown.back(), "'");
}

int report_usage(const WordsError& error) {
    err() << "vmdk-dm: " << message_of(error) << " (see vmdk-dm ";
    for (const std::string& command : error.commands) err() << command << " ";
    err() << "--help)\n";
    return static_cast<int>(ErrorKind::usage);
}

// These look at files, and make some. Of the others each needs the kernel's devices.
constexpr std::string_view file_commands[] = {"info", "map", "table", "check", "hash", "verify"};

void drop_unneeded_powers(int argc, char** argv) {
    if (argc > 1 && std::find(std::begin(file_commands), std::end(file_commands),
                              std::string_view(argv[1])) != std::end(file_commands))
        keep_file_access_only();
}

int report(const Error& error) {
    print_error(error);
    return static_cast<int>(error.kind());
}

// Commands whose work stands by the time that they print it.
[[noreturn]] void throw_unprinted(std::string_view command) {
    static constexpr std::array<std::string_view, 3> lasting = {"attach", "mount", "activate"};
    const bool lasts = std::find(lasting.begin(), lasting.end(), command) != lasting.end();
    throw Error(ErrorKind::system,
                concat("cannot write to standard output",
                       lasts ? concat(" what '", command, "' has made; it stays (see vmdk-dm list)") : ""));
}

int run(Program& program, int argc, char** argv) {
    int status = 0;
    try {
        if (program.run({argv + std::min(argc, 1), argv + argc}) == Program::Did::show_help) return 0;
    } catch (const ExitStatus& exit) {
        status = exit.status;
    }
    if (!out().flush()) throw_unprinted(argc > 1 ? argv[1] : "");
    return status;
}

}  // namespace

int run_command_line(int argc, char** argv) {
    Program program(
        "vmdk-dm",
        "Attaches VMware disks (VMDK) as /dev/mapper devices, in place and at the speed of the kernel.");
    program.set_version("vmdk-dm " VMDK_DM_VERSION);
    program.set_footer("vmdk-dm COMMAND --help shows the options of a command; vmdk-dm(8) is the manual.");
    program.top().require_command();
    add_commands(program.top(), argc, argv);

    raise_open_files_limit();
    // Also for programs that libraries start, such as mount's helpers.
    close_on_exec_from(STDERR_FILENO + 1);
    try {
        refuse_unknown_words(program.top(), argc, argv);
        drop_unneeded_powers(argc, argv);
        return run(program, argc, argv);
    } catch (const WordsError& error) {
        return report_usage(error);
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
