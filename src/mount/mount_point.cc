#include "mount/mount_point.h"

#include <filesystem>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse_missing(const std::string& directory) {
    throw Error(ErrorKind::not_found, concat("there is no directory '", directory, "' to mount on"));
}

}  // namespace

bool lies_in(const std::string& path, const std::string& directory) {
    if (directory == "/") return true;
    return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

std::string resolve_mount_point(const std::string& directory, const std::vector<std::string>& mounted) {
    std::error_code error;
    std::string absolute = fs::absolute(directory).lexically_normal().string();
    if (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
    // The way to it on this machine may lead over symlinks: of the directory itself, or of those above.
    fs::path real = fs::path(absolute).root_path();
    bool inside = false;
    for (const fs::path& part : fs::path(absolute).relative_path()) {
        const fs::path next = real / part;
        for (const std::string& one : mounted) inside = inside || real.string() == one;
        const fs::file_status status = fs::symlink_status(next, error);
        if (status.type() == fs::file_type::not_found) refuse_missing(directory);
        if (inside && status.type() == fs::file_type::symlink)
            throw Error(ErrorKind::refused, concat("'", directory, "' leads over '", next.string(),
                                                   "', a symlink of the mounted file "
                                                   "system"));
        real = inside ? next : fs::canonical(next, error);
        if (error) throw system_error(concat("'", next.string(), "'"), error.value());
    }
    if (!fs::is_directory(real, error))
        throw Error(ErrorKind::usage, concat("'", directory, "' is no directory"));
    return real.string();
}

}  // namespace vmdkdm
