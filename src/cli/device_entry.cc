#include "cli/device_entry.h"

#include <filesystem>

#include "base/concat.h"
#include "base/error.h"
#include "cli/table_entry.h"
#include "files/confined_opener.h"
#include "mount/where_mounted.h"
#include "plan/names.h"
#include "tab/options.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// Overlays are made at the first attach.
DevicePath device_path_of_new(const std::string& path) {
    std::error_code ignored;
    if (fs::exists(path, ignored)) return device_path_of(path);
    const fs::path whole(path);
    DevicePath place = device_path_of(whole.parent_path().string());
    if (place.path != "/") place.path += "/";
    place.path += whole.filename().string();
    return place;
}

void require_same(const DevicePath& image, const DevicePath& other, const std::string& path) {
    if (other.device != image.device)
        throw Error(ErrorKind::refused,
                    concat("'", path, "' lies on another file system (", other.device, ") than the image (",
                           image.device, "): all of it must be on one"));
}

}  // namespace

TabEntry entry_for_image(const std::string& path, const std::string& name,
                         const std::vector<TabOption>& options) {
    TabEntry entry;
    // Without symlinks: that is what systemd compares with mount points.
    entry.image.path = open_named_file(path, /*allow_device=*/false)->path();
    entry.name = name.empty() ? default_name(path) : name;
    check_name(entry.name);
    entry.options = options;
    return entry;
}

TabEntry as_device_entry(TabEntry entry) {
    if (!entry.image.device.empty()) return entry;
    const OpenImage opened = open_image(attach_options_of(entry, "").image);
    const DevicePath image = device_path_of(opened.image().file->path());
    for (const FilePtr& file : opened.files)
        if (file->kind() == FileKind::regular)
            require_same(image, device_path_of(file->path()), file->path());
    for (TabOption& option : entry.options) {
        if (!is_path_option(option.name) || !option.value) continue;
        const DevicePath place = device_path_of_new(*option.value);
        require_same(image, place, *option.value);
        option.value = place.path;
    }
    entry.image = {image.device, image.path};
    if (!image.mount_option.empty()) {
        std::string mount_options = image.mount_option;
        for (const std::string& own : entry.values("host-options")) mount_options += concat(",", own);
        std::erase_if(entry.options, [](const TabOption& option) { return option.name == "host-options"; });
        entry.options.push_back({"host-options", mount_options, 0});
    }
    return entry;
}

}  // namespace vmdkdm
