// vmdk-dm shell and vmdk-dm run: programs beside the file systems of an image, in an embedded kernel.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/embedded_options.h"

namespace vmdkdm {
namespace {

struct RunOptions {
    EmbeddedOptions embedded;
    std::vector<std::string> command;
};

// How the caller wants to be talked to, and nothing else: the environment has secrets.
std::vector<std::string> environment() {
    std::vector<std::string> variables{"HOME=/tmp", "USER=root", "LOGNAME=root", "SHELL=/bin/bash",
                                       "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    for (const char* name : {"TERM", "COLORTERM", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES",
                             "LC_TIME", "LC_COLLATE", "LC_NUMERIC", "TZ"})
        if (const char* value = std::getenv(name)) variables.push_back(std::string(name) + "=" + value);
    return variables;
}

[[noreturn]] void run(const RunOptions& options, bool shell) {
    PreparedMachine prepared(options.embedded);
    prepared.job.command = options.command;
    prepared.job.environment = environment();
    prepared.job.terminal = shell && ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
    // What the image has may do something to a terminal. An interactive shell is asked for with all it does;
    // where else there is none, each byte counts.
    prepared.machine.exact_errors = !prepared.job.terminal && ::isatty(STDERR_FILENO) != 1;
    const bool exact = prepared.job.terminal || ::isatty(STDOUT_FILENO) != 1;
    prepared.machine.take_output = [exact](int descriptor) { copy_to_standard_output(descriptor, exact); };
    throw ExitStatus{prepared.run()};
}

}  // namespace

void add_shell_command(Command& app) {
    Command command = app.add_command(
        "shell", "A shell beside an image's file systems, in an embedded kernel; needs no root");
    const auto options = std::make_shared<RunOptions>();
    command
        .add_argument("IMAGE", options->embedded.image.image, "The image: its descriptor, such as web.vmdk")
        .required();
    add_embedded_options(command, options->embedded);
    add_directory_options(command, options->embedded);
    command.on_run([options] { run(*options, true); });
}

void add_run_command(Command& app) {
    Command command = app.add_command(
        "run", "Run a command beside an image's file systems, in an embedded kernel; needs no root");
    const auto options = std::make_shared<RunOptions>();
    command
        .add_argument("IMAGE", options->embedded.image.image, "The image: its descriptor, such as web.vmdk")
        .required();
    add_embedded_options(command, options->embedded);
    add_directory_options(command, options->embedded);
    command.add_argument("COMMAND", options->command, "What to run, after '--'").required();
    command.on_run([options] { run(*options, false); });
}

}  // namespace vmdkdm
