// The command line: one file per subcommand, each adding itself to the app.
#pragma once

#include <CLI/CLI.hpp>

namespace vmdkdm {

void add_info_command(CLI::App& app);
void add_map_command(CLI::App& app);
void add_table_command(CLI::App& app);
void add_check_command(CLI::App& app);
void add_attach_command(CLI::App& app);
void add_detach_command(CLI::App& app);
void add_mount_command(CLI::App& app);
void add_umount_command(CLI::App& app);
void add_list_command(CLI::App& app);
void add_compact_command(CLI::App& app);
void add_hash_command(CLI::App& app);
void add_verify_command(CLI::App& app);
void add_cache_command(CLI::App& app);
void add_overlay_command(CLI::App& app);
void add_filesystems_command(CLI::App& app);
void add_activate_command(CLI::App& app);
void add_deactivate_command(CLI::App& app);
void add_tab_command(CLI::App& app);
void add_generate_cmdline_command(CLI::App& app);
void add_udev_link_command(CLI::App& app);
void add_shell_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_copy_out_command(CLI::App& app);
void add_embedded_init_command(CLI::App& app);

/// Thrown by a command that has said all there is to say, and whose status is not 0 all the same.
struct ExitStatus {
    int status = 0;
};

/// Runs the whole command; returns the exit status (ErrorKind's numbers, 0 for success).
int run_command_line(int argc, char** argv);

}  // namespace vmdkdm
