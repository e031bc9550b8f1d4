#include "attach/link_name.h"

#include <fstream>

#include "base/concat.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

}  // namespace

std::optional<std::string> partition_link_name(const fs::path& sysfs) {
    const std::optional<OwnUuid> own = parse_own_uuid(first_line(sysfs / "dm/uuid"));
    if (!own || own->partition == 0) return std::nullopt;
    std::error_code ignored;
    for (const auto& below : fs::directory_iterator(sysfs / "slaves", ignored))
        if (first_line(below.path() / "dm/uuid") == disk_uuid(own->id))
            return concat(first_line(below.path() / "dm/name"), "-part", own->partition);
    return std::nullopt;
}

}  // namespace vmdkdm
