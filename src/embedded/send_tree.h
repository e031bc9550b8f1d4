// Inside the embedded kernel: a file or directory, and all below, as a stream.
#pragma once

#include <string>

namespace vmdkdm {

/// Writes the tree at `path`, of the file system mounted at `root`, to the descriptor. Symbolic links on the
/// way there are those of the file system, and never lead out of it; below, none is followed. Throws Error
/// (not_found, system).
void send_tree(const std::string& root, const std::string& path, int descriptor);

}  // namespace vmdkdm
