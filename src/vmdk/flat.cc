#include "vmdk/flat.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

bool is_flat(ExtentType type) {
    return type == ExtentType::flat || type == ExtentType::vmfs || type == ExtentType::vmfs_raw ||
           type == ExtentType::zero;
}

void append_flat_extent(Layer::Builder& layer, const ExtentDescriptor& extent, const FilePtr& file,
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
        layer.append(
            extent.size,
            Unreadable{depth, layer.add_reason({Reason::Kind::intended, "the descriptor says NOACCESS"})});
    } else if (extent.type == ExtentType::zero) {
        layer.append(extent.size, Zero{depth});
    } else {
        if (present > Sectors(0)) layer.append(present, Stored{layer.add_file(file, depth), extent.offset});
        if (present < extent.size)
            layer.append(extent.size - present,
                         Unreadable{depth, layer.add_reason({Reason::Kind::allowed,
                                                             concat("'", file->path(), "' ends at byte ",
                                                                    file->size().count())})});
    }
}

}  // namespace vmdkdm
