// What the embedded kernel's process can see and do on this machine, as bubblewrap's command line. Pure but
// for looking how /bin and its like are laid out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace vmdkdm {

/// A file or directory that is seen at the same path inside.
struct Visible {
    std::string path;  ///< absolute, without symlinks
    /// An open descriptor of it, so that what was checked is what is seen; none: it is found by its path.
    std::optional<int> descriptor;
    bool writable = false;
};

struct Sandbox {
    std::vector<Visible> visible;
    /// Further spellings of a path: {path, what it leads to}.
    std::vector<std::pair<std::string, std::string>> links;
    std::vector<std::string> directories;  ///< empty, when nothing is seen in them
    int program = -1;                      ///< descriptor of our own program
    int job = -1;                          ///< descriptor of the text of the job
    int filter = -1;                       ///< descriptor of a seccomp program; -1: there is none
    bool may_disable_userns = false;       ///< this bubblewrap knows --disable-userns, and may use it here
    Bytes memory;                          ///< of the embedded kernel
};

/// Where the embedded kernel mounts something of its own; what is visible below must be shown again.
const std::vector<std::string>& covered_directories();

/// The words of bubblewrap's command line up to the "--". Namespaces of its own of every kind, so no network;
/// no capabilities, no further user namespaces; no /proc, and of /dev only null; killed when we die. To be
/// seen are /usr, a few files of /etc, and what `sandbox` says.
std::vector<std::string> bwrap_words(const Sandbox& sandbox);

/// The words of User-Mode Linux's. Its root is what the sandbox shows, process 1 our own program.
std::vector<std::string> kernel_words(Bytes memory);

}  // namespace vmdkdm
