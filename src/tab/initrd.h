// What an initramfs attaches before there is a root file system: the rd.vmdk= of the kernel's command line,
// and the entries of vmdktab(5) that say x-initrd.attach.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tab/tab.h"

namespace vmdkdm {

/// The entries of both as one table. The command line has the last word: its entries stand first, a name that
/// it has hides the table's, and "rd.vmdk=0" (or no, off) leaves nothing. Faults are those of rd.vmdk= and of
/// the table's lines that say x-initrd.attach, as far as that can be seen in a line that is not understood.
Tab initrd_tab(std::string_view command_line, const Tab& table);

/// The table as the shell of an initramfs reads it, which is a table for `attach --table` too: before each
/// entry stands a comment with what has to be done first,
///
///     # NODE NEED SOURCE OPTIONS
///
/// NODE is where the entry's device appears, NEED is "needed" or "nofail", SOURCE is
/// where the entry was written ("rd.vmdk=..." or "/etc/vmdktab:3"), and the rest of the line is how the
/// device's file system is mounted.
std::string print_initrd_tab(const Tab& tab);

}  // namespace vmdkdm
