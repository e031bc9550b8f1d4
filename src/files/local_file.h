// A file of our own, opened by its path: what the cache holds, for the loop device that is put over it.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "files/file.h"

namespace vmdkdm {

/// Read-only, never through a symlink in the last place. Throws Error (not_found, refused, system).
FilePtr open_local_file(const std::string& path);

/// The same for a descriptor that is open already; `path` is for messages.
FilePtr local_file(const std::string& path, UniqueFd fd);

}  // namespace vmdkdm
