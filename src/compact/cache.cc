#include "compact/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "compact/output_file.h"
#include "files/local_file.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

std::string default_directory() {
    if (::geteuid() == 0) return "/var/cache/vmdk-dm";
    const auto variable = [](const char* name) -> std::string {
        const char* value = std::getenv(name);
        return value == nullptr ? "" : value;
    };
    // The base directory specification: a relative path is ignored.
    const std::string cache_home = variable("XDG_CACHE_HOME");
    if (cache_home.starts_with('/')) return cache_home + "/vmdk-dm";
    const std::string home = variable("HOME");
    if (!home.starts_with('/'))
        throw Error(ErrorKind::usage, "no home directory to keep the cache in (see --cache-dir)");
    return home + "/.cache/vmdk-dm";
}

// Whom a file of ours belongs to there. Some file systems show another owner than who we are: hostfs of
// User-Mode Linux, NFS. Nothing when nothing can be made.
std::optional<uid_t> owner_of_new_files(const std::string& directory) {
    const std::string path = concat(directory, "/.owner.", ::getpid());
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR));
    if (!fd) return std::nullopt;
    struct stat status = {};
    const bool known = ::fstat(fd.get(), &status) == 0;
    ::unlink(path.c_str());
    return known ? std::optional(status.st_uid) : std::nullopt;
}

bool is_entry_name(const std::string& name) { return !name.starts_with('.') && name.ends_with(".raw"); }

}  // namespace

Cache::Cache(const std::optional<std::string>& directory)
    : directory_(fs::absolute(directory ? *directory : default_directory()).lexically_normal().string()) {
    if (directory_.size() > 1 && directory_.ends_with('/')) directory_.pop_back();
}

// Whether it is there; throws when it cannot be trusted.
bool Cache::check_directory() const {
    struct stat status = {};
    if (::stat(directory_.c_str(), &status) != 0) {
        if (errno == ENOENT) return false;
        throw system_error(concat("the cache '", directory_, "'"), errno);
    }
    if (!S_ISDIR(status.st_mode))
        throw Error(ErrorKind::refused, concat("the cache '", directory_, "' is not a directory"));
    if (status.st_uid != ::geteuid() && status.st_uid != owner_of_new_files(directory_))
        throw Error(ErrorKind::refused,
                    concat("the cache '", directory_, "' belongs to another user (see --cache-dir)"));
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        throw Error(ErrorKind::refused,
                    concat("the cache '", directory_, "' can be written by other users (see --cache-dir)"));
    return true;
}

void Cache::prepare() const {
    if (!check_directory()) {
        std::error_code ignored;
        fs::create_directories(fs::path(directory_).parent_path(), ignored);
        if (::mkdir(directory_.c_str(), S_IRWXU) != 0 && errno != EEXIST)
            throw system_error(concat("cannot make the cache '", directory_, "' (see --cache-dir)"), errno);
        check_directory();
    }
    remove_stale_temporaries(directory_);
}

std::vector<Cache::Entry> Cache::entries() const {
    std::vector<Entry> found;
    if (!check_directory()) return found;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(directory_, error)) {
        const std::string name = file.path().filename().string();
        struct stat status = {};
        if (!is_entry_name(name) || ::lstat(file.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        found.push_back({name,
                         file.path().string(),
                         Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512),
                         Bytes(static_cast<std::uint64_t>(status.st_size)),
                         std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec),
                         {status.st_dev, status.st_ino}});
    }
    if (error) throw system_error(concat("cannot read the cache '", directory_, "'"), error.value());
    std::sort(found.begin(), found.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    return found;
}

void Cache::remove(const Entry& entry) const {
    if (::unlink(entry.path.c_str()) != 0 && errno != ENOENT)
        throw system_error(concat("cannot remove '", entry.path, "'"), errno);
}

FilePtr Cache::find(const std::string& name, Bytes capacity) const {
    if (!check_directory()) return nullptr;
    try {
        FilePtr file = open_local_file(path_of(name));
        if (file->size() != capacity) return nullptr;
        ::futimens(file->fd(), nullptr);  // its time of writing says when it was last used
        return file;
    } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) return nullptr;
        throw;
    }
}

}  // namespace vmdkdm
