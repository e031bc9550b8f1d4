// What this process gives up, for good, before it looks at bytes that strangers made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vmdkdm {

/// What confined work needs besides memory and reading what is open.
struct Powers {
    bool threads = false;
    bool output = false;  ///< writes to descriptors that it keeps, shares and zeroes blocks there
};

/// What confined work may use: more than any image needs, and not all that the machine has.
struct Budget {
    /// Address space, in bytes, beyond what the process has when it is confined. Not with AddressSanitizer,
    /// which takes 20 TB.
    std::uint64_t memory = 0;
    /// Of all threads together. None: as much as it takes.
    std::optional<std::uint64_t> processor_seconds;
    /// No file becomes longer by what is written.
    std::uint64_t file_bytes = 0;

    /// For work that holds the map of a disk: half the machine's memory, an hour.
    static Budget of_reader();
    /// For work that reads a few sectors: 256 MiB, a minute.
    static Budget of_prober();
    /// For work on `bytes` by as many threads as there are processors.
    static Budget of_copier(std::uint64_t bytes, std::uint64_t file_bytes = 0);
};

/// Gives up, for this process and for good: all capabilities, also those that could come back; gaining any by
/// exec; being traced or dumped; every descriptor but `keep` (standard input, output and error become
/// /dev/null); every SharedNumber; the file system (walls.h), as far as the system lets it; what is beyond
/// the budget; and every system call but those that work on memory and on what is open. An attempt to open
/// something is refused, any other ends the process with SIGSYS.
///
/// Returns why there is no system call filter; empty when there is one. Throws Error (system) when anything
/// else cannot be given up.
std::string confine(const Powers& powers, const Budget& budget, const std::vector<int>& keep);

/// Whether confine() was called in this process.
bool is_confined();

}  // namespace vmdkdm
