// Outside: makes the files of a stream that came out of the embedded kernel, which an enemy may have written.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "embedded/tree_stream.h"

namespace vmdkdm {

struct ReceiveOptions {
    int directory = -1;    ///< open, in which the tree is made
    std::string name;      ///< of its top, whatever it is called in the image
    std::string as_given;  ///< of the top, for messages
    bool replace = false;  ///< files that are there already; directories are joined
    /// How much may be made. Each file, directory and link takes a block, and what is in a file as many as it
    /// touches.
    std::uint64_t most_bytes = std::numeric_limits<std::uint64_t>::max();
    /// How many names may come, those that are left out included.
    std::uint64_t most_names = std::numeric_limits<std::uint64_t>::max();
};

struct Received {
    std::uint64_t files = 0;  ///< those and links that were made
    std::uint64_t bytes = 0;
    std::uint64_t existing = 0;  ///< left as they were
    std::uint64_t failed = 0;    ///< could not be read, or not be made
};

/// Makes files, directories and symbolic links, and nothing else. What is made belongs to the caller, has no
/// special permission bits, can be read by the caller, and keeps its time; a file appears when it is whole.
/// No symbolic link is followed, whoever made it. What is left out is told to `tell`, a text for each. Throws
/// Error (system) when the stream ends early or nothing more can be written, (refused) where it is more than
/// the options allow, (format) for what is no such stream; what is whole by then stays.
Received receive_tree(const FillFrom& stream, const ReceiveOptions& options,
                      const std::function<void(const std::string&)>& tell);

}  // namespace vmdkdm
