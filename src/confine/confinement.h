// What this process gives up, for good, before it looks at bytes that strangers made.
#pragma once

#include <string>
#include <vector>

namespace vmdkdm {

/// What confined work needs besides memory and reading what is open.
struct Powers {
    bool threads = false;
    bool output = false;  ///< writes to descriptors that it keeps, shares and zeroes blocks there
};

/// Gives up, for this process and for good: all capabilities, also those that could come back; gaining any by
/// exec; being traced or dumped; every descriptor but `keep` (standard input, output and error become
/// /dev/null); and every system call but those that work on memory and on what is open. An attempt to open
/// something is refused, any other ends the process with SIGSYS.
///
/// Returns why there is no system call filter; empty when there is one. Throws Error (system) when anything
/// else cannot be given up.
std::string confine(const Powers& powers, const std::vector<int>& keep);

/// Whether confine() was called in this process.
bool is_confined();

}  // namespace vmdkdm
