#include "mount/where_mounted.h"

#include <fcntl.h>
#include <libmount/libmount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "mount/mount_point.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

using MountTable = std::unique_ptr<libmnt_table, decltype(&::mnt_unref_table)>;
using Cache = std::unique_ptr<libmnt_cache, decltype(&::mnt_unref_cache)>;

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

MountTable mounts_now() {
    MountTable table(::mnt_new_table_from_file("/proc/self/mountinfo"), &::mnt_unref_table);
    if (!table) throw Error(ErrorKind::system, "cannot read /proc/self/mountinfo");
    return table;
}

template <class Visit>
void for_each(libmnt_table* table, Visit&& visit) {
    const std::unique_ptr<libmnt_iter, decltype(&::mnt_free_iter)> iterator(::mnt_new_iter(MNT_ITER_FORWARD),
                                                                            &::mnt_free_iter);
    libmnt_fs* entry = nullptr;
    while (::mnt_table_next_fs(table, iterator.get(), &entry) == 0) visit(entry);
}

std::optional<struct stat> status_of(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status;
}

// btrfs and its like show an anonymous device, but name a real one as their source.
bool is_of_device(libmnt_fs* entry, dev_t device) {
    if (::mnt_fs_get_devno(entry) == device) return true;
    const std::string path = text_or_empty(::mnt_fs_get_srcpath(entry));
    if (!path.starts_with("/dev/")) return false;
    const auto source = status_of(path);
    return source && S_ISBLK(source->st_mode) && source->st_rdev == device;
}

std::optional<std::uint64_t> mount_id(const std::string& path) {
    struct statx status = {};
    if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT, STATX_MNT_ID, &status) != 0) return std::nullopt;
    return status.stx_mnt_id;
}

// Another mount may lie over it.
bool is_seen(libmnt_fs* entry) {
    return mount_id(::mnt_fs_get_target(entry)) == static_cast<std::uint64_t>(::mnt_fs_get_id(entry));
}

MountPlace place_of(libmnt_fs* entry) {
    return {text_or_empty(::mnt_fs_get_target(entry)), text_or_empty(::mnt_fs_get_source(entry)),
            text_or_empty(::mnt_fs_get_fstype(entry)), text_or_empty(::mnt_fs_get_root(entry))};
}

// What udev says of the device, which any user may read.
std::string uuid_by_link(const std::string& node) {
    const auto wanted = status_of(node);
    std::error_code ignored;
    if (!wanted) return {};
    for (const auto& link : fs::directory_iterator("/dev/disk/by-uuid", ignored)) {
        const auto status = status_of(link.path().string());
        if (status && status->st_rdev == wanted->st_rdev) return link.path().filename().string();
    }
    return {};
}

}  // namespace

std::string find_device(const std::string& device) {
    const Cache cache(::mnt_new_cache(), &::mnt_unref_cache);
    std::string node = device;
    if (!device.starts_with('/')) {
        // The answer belongs to the cache.
        const char* const found = ::mnt_resolve_spec(device.c_str(), cache.get());
        if (found == nullptr || !std::string_view(found).starts_with('/'))
            throw Error(ErrorKind::not_found, concat("there is no device ", device));
        node = found;
    }
    const auto status = status_of(node);
    if (!status) throw Error(ErrorKind::not_found, concat("there is no device ", device));
    if (!S_ISBLK(status->st_mode)) throw Error(ErrorKind::refused, concat("'", node, "' is no block device"));
    return node;
}

std::optional<std::string> where_mounted(const std::string& node, bool writable) {
    const auto device = status_of(node);
    if (!device) return std::nullopt;
    std::optional<std::string> found;
    bool found_writable = false;
    for_each(mounts_now().get(), [&](libmnt_fs* entry) {
        if (text_or_empty(::mnt_fs_get_root(entry)) != "/" || !is_of_device(entry, device->st_rdev) ||
            !is_seen(entry))
            return;
        const bool can_be_written =
            ::mnt_fs_match_options(entry, "rw") == 1;  // the mount's own and the file system's
        if (found && !(writable && can_be_written && !found_writable)) return;
        found = ::mnt_fs_get_target(entry);
        found_writable = can_be_written;
    });
    return found;
}

bool is_on_mount(const std::string& path, const std::string& directory) {
    std::error_code error;
    fs::path real = fs::canonical(path, error);
    if (error) real = fs::canonical(fs::path(path).parent_path(), error);
    if (error) return true;
    const auto of_path = mount_id(real.string());
    return lies_in(real.string(), directory) && of_path && of_path == mount_id(directory);
}

MountPlace mount_of(const std::string& path) {
    const auto id = mount_id(path);
    if (!id) throw system_error(concat("'", path, "'"), errno);
    std::optional<MountPlace> place;
    for_each(mounts_now().get(), [&](libmnt_fs* entry) {
        if (static_cast<std::uint64_t>(::mnt_fs_get_id(entry)) == *id) place = place_of(entry);
    });
    if (!place)
        throw Error(ErrorKind::not_found, concat("'", path, "' lies on no mount that can be seen from here"));
    return *place;
}

std::string file_system_uuid(const std::string& node) {
    const Cache cache(::mnt_new_cache(), &::mnt_unref_cache);
    const char* const found = ::mnt_cache_find_tag_value(cache.get(), node.c_str(), "UUID");
    return found != nullptr ? found : uuid_by_link(node);
}

DevicePath device_path_of(const std::string& path) {
    std::error_code error;
    const std::string real = fs::canonical(path, error).string();
    if (error) throw system_error(concat("'", path, "'"), error.value());
    const MountPlace mount = mount_of(real);
    const auto node = status_of(mount.source);
    if (!mount.source.starts_with("/dev/") || !node || !S_ISBLK(node->st_mode))
        throw Error(ErrorKind::refused,
                    concat("'", real, "' lies on '", mount.directory, "', a file system (", mount.type,
                           ") without a block device of its own"));
    const std::string uuid = file_system_uuid(mount.source);
    if (uuid.empty())
        throw Error(ErrorKind::refused, concat("the file system of '", mount.directory, "' (", mount.source,
                                               ") has no UUID, or only root may read it"));
    const std::string below = mount.directory == "/" ? real : real.substr(mount.directory.size());
    return {concat("UUID=", uuid), concat(mount.root == "/" ? "" : mount.root, below),
            mount.type == "btrfs" ? "subvolid=5" : ""};
}

std::vector<FstabMount> fstab_mounts() {
    std::vector<FstabMount> mounts;
    const MountTable table(::mnt_new_table(), &::mnt_unref_table);
    if (!table || ::mnt_table_parse_fstab(table.get(), nullptr) != 0) return mounts;
    for_each(table.get(), [&](libmnt_fs* entry) {
        if (::mnt_fs_is_swaparea(entry) == 1 || ::mnt_fs_is_pseudofs(entry) == 1 ||
            ::mnt_fs_is_netfs(entry) == 1)
            return;
        mounts.push_back({text_or_empty(::mnt_fs_get_target(entry)),
                          text_or_empty(::mnt_fs_get_source(entry)),
                          text_or_empty(::mnt_fs_get_options(entry))});
    });
    return mounts;
}

const FstabMount* fstab_mount_of(const std::vector<FstabMount>& mounts, const std::string& path) {
    const FstabMount* deepest = nullptr;
    for (const FstabMount& mount : mounts)
        if (lies_in(path, mount.directory) &&
            (deepest == nullptr || mount.directory.size() >= deepest->directory.size()))
            deepest = &mount;
    return deepest;
}

}  // namespace vmdkdm
