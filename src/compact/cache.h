// The files that attach made of compressed images, kept for the next time. A file's name says of which image
// it is, and what stands behind the disk in it from which bytes it was made, so no list stands beside them
// that could be wrong.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "compact/content_digest.h"
#include "files/file.h"

namespace vmdkdm {

/// From which bytes an entry was made: the digest of them under a key that only the entry's owner can read.
struct EntryOrigin {
    ContentKey key{};
    std::string content;
};

/// What an entry is longer than its disk: the room for the origin, which is text.
inline constexpr Bytes entry_end_size{4096};

/// Throws Error (system).
void write_origin(int fd, const std::string& path, Bytes capacity, const EntryOrigin& origin);

class Cache {
  public:
    /// The directory, or the default: /var/cache/vmdk-dm for root, $XDG_CACHE_HOME/vmdk-dm or
    /// ~/.cache/vmdk-dm for others. All entries together take at most `limit`. Touches nothing.
    explicit Cache(const std::optional<std::string>& directory = std::nullopt,
                   std::optional<Bytes> limit = std::nullopt);

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

    struct Found {
        FilePtr file;  ///< null: there is no entry of that name, size and form
        EntryOrigin origin;
        std::string refused;  ///< why what has that name is not believed: somebody else may have put it there
    };
    /// All that can be known without reading the image that it should be of. Throws Error as prepare does.
    Found find(const std::string& name, Bytes capacity) const;

    /// How much there is for a new entry.
    struct Room {
        Bytes limit;  ///< of the cache: the user's, or a quarter of what is free with what the entries take
        Bytes taken;  ///< by the entries
        bool by_user = false;
        Bytes left() const { return limit > taken ? limit - taken : Bytes(0); }
    };
    /// The entry `name`, which the new one will replace, does not count.
    Room room_for(const std::string& name) const;

  private:
    std::optional<uid_t> owner_of_directory() const;

    std::string directory_;
    std::optional<Bytes> limit_;
};

}  // namespace vmdkdm
