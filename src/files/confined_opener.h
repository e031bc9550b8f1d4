// The real FileOpener. A descriptor is somebody else's text, so what it names is opened only
//   - below the directory of the file that names it, or below a directory that the user allowed,
//   - with no symlink on the way (openat2, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS),
//   - in directories that are opened once: whatever their paths come to name later is not looked at,
//   - when it is a regular file; or a block device, if the user allowed devices (those may lie anywhere).
// Everything is opened read-only, and nothing is opened for reading before its kind is known: opening a FIFO
// would block, opening a tape device would rewind it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "files/file_opener.h"

namespace vmdkdm {

struct OpenRules {
    std::vector<std::string> allow_paths;  ///< further directories (--allow-path)
    bool allow_devices = false;            ///< block devices too (--allow-devices)
};

/// A file that the user named, by any path; a block device only with `allow_device`. Throws Error (not_found,
/// refused, system).
FilePtr open_named_file(const std::string& path, bool allow_device);

class ConfinedOpener : public FileOpener {
  public:
    /// Throws Error when an allowed path is not a directory.
    explicit ConfinedOpener(const OpenRules& rules);

    FilePtr open_image(const std::string& path) override;
    FilePtr open_beside(const File& from, const std::string& name) override;

  private:
    struct Root {
        std::string path;      // with symlinks resolved
        std::string as_given;  // absolute, symlinks kept: a descriptor may use either spelling
    };

    const UniqueFd& directory(const std::string& path);
    std::optional<UniqueFd> locate_below(const std::string& root, const std::string& relative);

    std::map<std::string, UniqueFd> directories_;  // by their paths, with symlinks resolved
    std::vector<Root> allowed_;
    std::vector<Root> image_roots_;  // directories of the images, for the spelling that the user gave
    bool allow_devices_;
};

}  // namespace vmdkdm
