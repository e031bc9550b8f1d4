#include "cli/cli.h"

#include <sys/resource.h>

#include <iostream>

#include "base/error.h"
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

int report(const Error& error) {
    const bool says_where = dynamic_cast<const TextError*>(&error) != nullptr;
    std::cerr << (says_where ? "" : "vmdk-dm: ") << error.what() << "\n";
    return static_cast<int>(error.kind());
}

}  // namespace

int run_command_line(int argc, char** argv) {
    CLI::App app(
        "Attaches VMware disks (VMDK) as /dev/mapper devices, in place and at the speed of the kernel.",
        "vmdk-dm");
    app.set_version_flag("--version", "vmdk-dm " VMDK_DM_VERSION);
    app.require_subcommand(1);
    app.footer("vmdk-dm COMMAND --help shows the options of a command; vmdk-dm(8) is the manual.");
    add_attach_command(app);
    add_detach_command(app);
    add_list_command(app);
    add_info_command(app);
    add_map_command(app);
    add_table_command(app);

    raise_open_files_limit();
    try {
        app.parse(argc, argv);
        std::cout.flush();
        if (!std::cout) throw Error(ErrorKind::system, "cannot write to standard output");
        return 0;
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error);
        return status == 0 ? 0 : static_cast<int>(ErrorKind::usage);
    } catch (const Error& error) {
        return report(error);
    } catch (const std::exception& error) {
        return report(Error(ErrorKind::system, error.what()));
    }
}

}  // namespace vmdkdm
