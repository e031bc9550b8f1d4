// Directories that are mounted on. One may lie inside a file system that the same command mounts before; that
// is somebody else's, and its symlinks lead nowhere.
#pragma once

#include <string>
#include <vector>

namespace vmdkdm {

/// Absolute, with symlinks of this machine's resolved. What lies inside one of `mounted` (such directories)
/// is reached without any symlink. Throws Error (not_found; refused for a symlink inside; usage when it is no
/// directory).
std::string resolve_mount_point(const std::string& directory, const std::vector<std::string>& mounted);

/// Whether `path` is `directory` or below it, as texts; both absolute.
bool lies_in(const std::string& path, const std::string& directory);

}  // namespace vmdkdm
