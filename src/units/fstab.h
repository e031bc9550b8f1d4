// What fstab(5) and crypttab(5) say that our units must fit: which file system an image lies on, and which
// partitions of our disks are used by whom. Lines that are not understood are left out: reporting them is
// other generators' task.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmdkdm {

struct FstabLine {
    std::string source;     ///< "LABEL=x", "/dev/...", "server:/path"
    std::string directory;  ///< absolute; "none" for swap
    std::string type;
    std::vector<std::string> options;
    bool has(std::string_view option) const;
    /// Whether it waits for the network: its type is one of those, or it says _netdev.
    bool is_remote() const;
};
std::vector<FstabLine> parse_fstab(std::string_view text);

struct CrypttabLine {
    std::string name;
    std::string source;
};
std::vector<CrypttabLine> parse_crypttab(std::string_view text);

/// The line of the file system that the (absolute) path lies on; null when that is not in fstab.
const FstabLine* file_system_of(std::string_view path, const std::vector<FstabLine>& fstab);

}  // namespace vmdkdm
