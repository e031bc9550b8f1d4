#include "vmdk/flat.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

bool is_flat(ExtentType type) {
    return type == ExtentType::flat || type == ExtentType::vmfs || type == ExtentType::vmfs_raw ||
           type == ExtentType::zero;
}

void append_flat_extent(BlockMap::Builder& map, const ExtentDescriptor& extent, const FilePtr& file,
                        std::uint32_t depth, bool allow_short) {
    Sectors present;
    if (file && is_flat(extent.type)) {
        const Sectors file_end = whole_sectors(file->size());
        present = file_end > extent.offset ? std::min(file_end - extent.offset, extent.size) : Sectors(0);
        if (present < extent.size && !allow_short)
            throw Error(
                ErrorKind::format,
                concat("'", file->path(), "' is too short: ", file->size().count(), " bytes, expected ",
                       to_bytes(extent.offset + extent.size).count(), " (see --allow-short)"));
    }
    if (extent.access == Access::no_access) {
        map.append(extent.size, Unreadable{depth, map.add_reason("the descriptor says NOACCESS")});
    } else if (extent.type == ExtentType::zero) {
        map.append(extent.size, Zero{depth});
    } else {
        if (present > Sectors(0)) map.append(present, Stored{map.add_file(file, depth), extent.offset});
        if (present < extent.size)
            map.append(extent.size - present,
                       Unreadable{depth, map.add_reason(concat("'", file->path(), "' ends at byte ",
                                                               file->size().count()))});
    }
}

}  // namespace vmdkdm
