// An image: its descriptor, the files that its extents lie in, and the BlockMap that they give.
#pragma once

#include <string>
#include <vector>

#include "files/file_opener.h"
#include "map/block_map.h"
#include "vmdk/descriptor.h"

namespace vmdkdm {

/// Rules for reading what the descriptor promises.
struct ReadRules {
    bool allow_short = false;  ///< a file that ends early gives an unreadable tail instead of an error
};

struct Image {
    std::string path;  ///< as the user wrote it; for messages
    FilePtr file;      ///< the descriptor's
    Descriptor descriptor;
};

/// Reads the descriptor and opens nothing else. Throws Error when the file is none, TextError for what is in
/// it.
Image read_image(const std::string& path, FileOpener& opener);

/// The image's disk, every extent opened and checked against its file. What the user should know but need not
/// act on is added to `notes`.
BlockMap map_image(const Image& image, FileOpener& opener, const ReadRules& rules,
                   std::vector<std::string>& notes);

}  // namespace vmdkdm
