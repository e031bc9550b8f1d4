// `check`: all that is wrong with an image and its parents. Pure, as the readers are: files in, findings out.
// What is damaged does not end it; what the readers refuse, and what they read with a note, is told here with
// its place.
#pragma once

#include <cstddef>
#include <string>

#include "vmdk/findings.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

struct CheckedImage {
    std::string path;       ///< of the image, absolute
    ImageChain chain;       ///< as much of it as can be read, the image first
    std::size_t files = 0;  ///< that were opened: descriptors and extents
    Findings findings;
};

/// Tests the image and its parents, or with `rules.layer` from that layer on. Throws Error when the image
/// cannot be opened, or a file cannot be read for a reason that is not its content.
CheckedImage check_image(const std::string& path, FileOpener& opener, const ChainRules& rules);

}  // namespace vmdkdm
