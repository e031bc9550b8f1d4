#include "mount/choose.h"

#include <algorithm>
#include <array>
#include <functional>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"

namespace vmdkdm {
namespace {

bool is_container(const Volume& volume) {
    static constexpr std::array types = {"LVM2_member", "crypto_LUKS", "BitLocker", "linux_raid_member"};
    return volume.content && std::find(types.begin(), types.end(), volume.content->type) != types.end();
}

bool is_file_system(const Volume& volume) {
    return volume.content && volume.content->usage == "filesystem" && volume.children.empty();
}

std::vector<const Volume*> volumes_that(const Volume& disk, const std::function<bool(const Volume&)>& fit) {
    std::vector<const Volume*> found = bottom_up(disk);
    std::erase_if(found, [&fit](const Volume* volume) { return !fit(*volume); });
    return found;
}

// One line for each volume with something on it, as the user would write it.
std::vector<std::string> list_of(const Volume& disk, const std::string& image) {
    std::vector<std::string> list;
    for (const Volume* volume :
         volumes_that(disk, [](const Volume& v) { return v.content && v.children.empty(); })) {
        const std::string selector = selector_of(*volume);
        std::string& line = list.emplace_back(
            concat("  ", image, selector.empty() ? "" : ":", selector, "  ", volume->content->type));
        if (!volume->content->label.empty()) append_parts(line, " '", volume->content->label, "'");
        append_parts(line, ", ", human_size(volume->size));
        if (is_container(*volume)) line += " (closed)";
    }
    return list;
}

// An opened container, a PV with one LV: what lies on it is meant.
const Volume& top_of(const Volume& volume) {
    return volume.children.size() == 1 ? top_of(volume.children.front()) : volume;
}

const Volume& the_only_one(const std::vector<const Volume*>& found, const Volume& disk,
                           const std::string& image, const std::string& what) {
    if (found.size() == 1) return *found.front();
    const std::vector<std::string> list = list_of(disk, image);
    if (found.empty())
        throw Error(ErrorKind::not_found, concat(what, " is not there", list.empty() ? "" : "; this is:"),
                    list);
    throw Error(ErrorKind::refused, concat(what, " may be one of several; choose from:"), list);
}

const Volume& find_by_tag(const Volume& disk, const std::string& wanted, const std::string& image) {
    const bool by_label = wanted.starts_with("LABEL=");
    const std::string value = wanted.substr(wanted.find('=') + 1);
    return the_only_one(volumes_that(disk,
                                     [&](const Volume& volume) {
                                         return is_file_system(volume) &&
                                                (by_label ? volume.content->label : volume.content->uuid) ==
                                                    value;
                                     }),
                        disk, image, concat("the file system with ", wanted));
}

}  // namespace

std::string selector_of(const Volume& volume) {
    if (volume.kind == VolumeKind::disk) return "";
    return volume.partition_number ? std::to_string(*volume.partition_number) : volume.name;
}

bool has_closed_container(const Volume& disk) {
    return !volumes_that(disk, [](const Volume& volume) {
                return is_container(volume) && volume.children.empty();
            }).empty();
}

bool leads_to_closed_container(const Volume& disk, const std::string& wanted) {
    const bool is_tag = wanted.starts_with("LABEL=") || wanted.starts_with("UUID=");
    const Volume* volume = is_tag || wanted.empty() ? nullptr : find_volume(disk, wanted);
    return volume != nullptr && top_of(*volume).children.empty() && is_container(top_of(*volume));
}

const Volume& choose_file_system(const Volume& disk, const std::string& wanted, const std::string& image) {
    if (wanted.starts_with("LABEL=") || wanted.starts_with("UUID=")) return find_by_tag(disk, wanted, image);
    if (wanted.empty()) return the_only_one(volumes_that(disk, is_file_system), disk, image, "a file system");
    const Volume* named = find_volume(disk, wanted);
    if (named == nullptr) the_only_one({}, disk, image, concat("the volume '", wanted, "'"));
    const Volume* volume = &top_of(*named);
    if (is_file_system(*volume)) return *volume;
    const std::vector<std::string> list = list_of(disk, image);
    if (!volume->children.empty())
        throw Error(ErrorKind::refused, concat("'", wanted, "' holds several volumes; choose from:"), list);
    throw Error(ErrorKind::refused,
                concat("'", wanted, "' holds ",
                       volume->content ? concat("no file system but ", volume->content->type)
                                       : std::string("nothing that is known"),
                       list.empty() ? "" : "; this is there:"),
                list);
}

}  // namespace vmdkdm
