// Runs an embedded kernel in its sandbox: starts it, hands streams and signals on, and gives back the exit
// status of what ran inside. It has no files on this machine, so that whatever ends us leaves nothing.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "embedded/sandbox.h"

namespace vmdkdm {

struct Machine {
    Sandbox sandbox;
    bool terminal = false;  ///< standard input is one, and goes in as it is
    bool takes_input = true;
    bool show_console = false;  ///< the kernel's own messages go to standard error, escaped
    /// What runs inside says on standard error goes to ours as it is, else escaped.
    bool exact_errors = false;
    std::optional<std::chrono::seconds> timeout;
    /// Reads standard output of what runs inside, to its end; in a thread of its own.
    std::function<void(int descriptor)> take_output;
};

/// The exit status with which the time is up.
inline constexpr int status_time_is_up = 124;

/// The exit status of what ran inside. A signal that ends us ends all of it first. Throws Error: not_found
/// when bubblewrap or User-Mode Linux is not installed; system when they do not start or end too early; what
/// take_output threw.
int run_machine(const Machine& machine);

/// Copies all there is to our own standard output, as it is or escaped. Throws Error (system).
void copy_to_standard_output(int descriptor, bool exact);

}  // namespace vmdkdm
