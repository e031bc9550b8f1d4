// Runs another program, never through a shell: for what lvm and mdadm know better than we could.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace vmdkdm {

struct ToolCall {
    std::vector<std::string>
        words;            ///< the program, looked up in PATH and the sbin directories; its arguments
    std::string package;  ///< that has it, for the message when it is missing
    std::vector<std::pair<std::string, std::string>>
        environment;  ///< besides PATH and LC_ALL=C: it gets no more
    unsigned timeout_s = 120;
    /// A directory that it sees with nothing but this one empty file, and nobody else sees what it writes
    /// there.
    std::string private_directory = {};
    std::string private_file = {};
};

/// Its standard output. The program gets no descriptor of ours, reads nothing, and has a session of its own,
/// so that a Ctrl-C does not stop it half-way. Throws Error: not_found when there is no such program, system
/// when it fails (with its own words) or does not end in time.
std::string run_tool(const ToolCall& call);

}  // namespace vmdkdm
