#include "attach/link_name.h"

#include "base/concat.h"
#include "kernel/sysfs.h"
#include "plan/names.h"

namespace vmdkdm {

namespace fs = std::filesystem;

std::optional<std::string> partition_link_name(const fs::path& sysfs) {
    const std::optional<OwnUuid> own = parse_own_uuid(sysfs_attribute(sysfs / "dm/uuid"));
    if (!own || own->partition == 0) return std::nullopt;
    std::error_code ignored;
    for (const auto& below : fs::directory_iterator(sysfs / "slaves", ignored))
        if (sysfs_attribute(below.path() / "dm/uuid") == disk_uuid(own->id))
            return concat(sysfs_attribute(below.path() / "dm/name"), "-part", own->partition);
    return std::nullopt;
}

}  // namespace vmdkdm
