// What the user wants mounted: IMAGE, IMAGE:2, IMAGE:VG/LV, IMAGE:LABEL=x, IMAGE:UUID=x.
#pragma once

#include <string>

namespace vmdkdm {

struct MountSource {
    std::string image;   ///< a path
    std::string volume;  ///< what follows the colon; empty: the image's only file system
};

/// An existing path wins: the image is the longest part before a colon that exists, so that colons may stand
/// in paths. Throws Error (not_found) when there is none.
MountSource parse_mount_source(const std::string& text);

}  // namespace vmdkdm
