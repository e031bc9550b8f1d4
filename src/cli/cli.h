// The command line: one file per subcommand, each adding itself to the program.
#pragma once

#include "cli/command.h"

namespace vmdkdm {

void add_info_command(Command& app);
void add_map_command(Command& app);
void add_table_command(Command& app);
void add_check_command(Command& app);
void add_attach_command(Command& app);
void add_detach_command(Command& app);
void add_mount_command(Command& app);
void add_umount_command(Command& app);
void add_list_command(Command& app);
void add_compact_command(Command& app);
void add_hash_command(Command& app);
void add_verify_command(Command& app);
void add_cache_command(Command& app);
void add_overlay_command(Command& app);
void add_filesystems_command(Command& app);
void add_activate_command(Command& app);
void add_deactivate_command(Command& app);
void add_tab_command(Command& app);
void add_generate_cmdline_command(Command& app);
void add_udev_link_command(Command& app);
void add_shell_command(Command& app);
void add_run_command(Command& app);
void add_copy_out_command(Command& app);
void add_embedded_init_command(Command& app);

/// Thrown by a command that has said all there is to say, and whose status is not 0 all the same.
struct ExitStatus {
    int status = 0;
};

/// Runs the whole command; returns the exit status (ErrorKind's numbers, 0 for success).
int run_command_line(int argc, char** argv);

}  // namespace vmdkdm
