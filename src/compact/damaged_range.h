// A part of the disk that cannot be read, as the commands list it.
#pragma once

#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

struct DamagedRange {
    Sectors start;       ///< on the disk
    Sectors length;      ///< never 0
    FilePtr file;        ///< that holds the compressed grain; none when the run was unreadable before
    Bytes offset;        ///< of the grain's header in `file`
    std::string reason;  ///< with the file and the place in it
};

}  // namespace vmdkdm
