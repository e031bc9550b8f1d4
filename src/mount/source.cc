#include "mount/source.h"

#include <filesystem>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

MountSource parse_mount_source(const std::string& text) {
    const auto exists = [](const std::string& path) {
        std::error_code ignored;
        return std::filesystem::exists(path, ignored);
    };
    if (exists(text)) return {text, ""};
    for (std::size_t colon = text.rfind(':'); colon != std::string::npos && colon > 0;
         colon = text.rfind(':', colon - 1)) {
        const std::string image = text.substr(0, colon);
        if (!exists(image)) continue;
        if (colon + 1 == text.size())
            throw Error(ErrorKind::usage,
                        concat("'", text,
                               "' names no volume after the colon (a partition's number, VG/LV, "
                               "LABEL=... or UUID=...)"));
        return {image, text.substr(colon + 1)};
    }
    throw Error(ErrorKind::not_found, concat("there is no image '", text.substr(0, text.find(':')), "'"));
}

}  // namespace vmdkdm
