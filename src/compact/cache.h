// The files that attach made of compressed images, kept for the next time. A file's name says what it was
// made from, so no list stands beside them that could be wrong.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "files/file.h"

namespace vmdkdm {

class Cache {
  public:
    /// The directory, or the default: /var/cache/vmdk-dm for root, $XDG_CACHE_HOME/vmdk-dm or
    /// ~/.cache/vmdk-dm for others. Touches nothing.
    explicit Cache(const std::optional<std::string>& directory = std::nullopt);

    const std::string& directory() const { return directory_; }

    /// Makes the directory (mode 0700) if it is not there. Throws Error (refused) when it belongs to somebody
    /// else or others may write to it: what lies there would be attached.
    void prepare() const;

    struct Entry {
        std::string name;
        std::string path;
        Bytes allocated;
        Bytes capacity;
        std::chrono::system_clock::time_point last_used;
        FileIdentity identity;
    };
    /// By name; none when there is no directory. Throws Error as prepare does.
    std::vector<Entry> entries() const;

    /// Throws Error (system).
    void remove(const Entry& entry) const;

    std::string path_of(const std::string& name) const { return directory_ + "/" + name; }
    /// An entry of that name and size, marked as used now; null when there is none.
    FilePtr find(const std::string& name, Bytes capacity) const;

  private:
    bool check_directory() const;

    std::string directory_;
};

}  // namespace vmdkdm
