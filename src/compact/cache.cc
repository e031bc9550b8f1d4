#include "compact/cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "compact/digest.h"
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

constexpr std::string_view origin_start = "vmdk-dm cache entry 1\nkey=";
constexpr std::string_view origin_middle = "\ncontent=";
constexpr std::string_view origin_end = "\n";
constexpr std::size_t key_digits = 2 * sizeof(ContentKey);
constexpr std::size_t digest_digits = 2 * sizeof(ChunkDigest);

std::string origin_text(const EntryOrigin& origin) {
    std::string text = concat(origin_start, to_hex(origin.key), origin_middle, origin.content, origin_end);
    text.resize(static_cast<std::size_t>(entry_end_size.count()));
    return text;
}

std::optional<unsigned> digit_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return std::nullopt;
}

// Nothing for what origin_text() would not have written: an attach that was cut short, or an older version's.
std::optional<EntryOrigin> read_origin(const File& file) {
    std::string text(static_cast<std::size_t>(entry_end_size.count()), '\0');
    file.read_at(file.size() - entry_end_size, std::as_writable_bytes(std::span(text)));
    EntryOrigin origin;
    for (std::size_t i = 0; i < key_digits; ++i) {
        const std::optional<unsigned> value = digit_value(text[origin_start.size() + i]);
        if (!value) return std::nullopt;
        origin.key[i / 2] =
            static_cast<std::byte>(std::to_integer<unsigned>(origin.key[i / 2]) << 4 | *value);
    }
    origin.content = text.substr(origin_start.size() + key_digits + origin_middle.size(), digest_digits);
    if (text != origin_text(origin)) return std::nullopt;
    return origin;
}

// Why what was opened is no entry that we made. The owner of the directory may put there what he likes.
std::string why_foreign(const struct stat& status, uid_t owner) {
    if (S_ISLNK(status.st_mode)) return "is a symbolic link";
    if (!S_ISREG(status.st_mode)) return "is not a regular file";
    if (status.st_uid != owner && status.st_uid != ::geteuid() && status.st_uid != 0)
        return concat("belongs to user ", status.st_uid);
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "can be written by other users";
    if (status.st_nlink > 1) return "has another name elsewhere";
    return "";
}

}  // namespace

void write_origin(int fd, const std::string& path, Bytes capacity, const EntryOrigin& origin) {
    const std::string text = origin_text(origin);
    const ssize_t count = ::pwrite(fd, text.data(), text.size(), static_cast<off_t>(capacity.count()));
    if (count != static_cast<ssize_t>(text.size()))
        throw system_error(
            concat("cannot write '", path, "' at byte ", capacity.count(), " (see --cache-dir)"),
            count < 0 ? errno : ENOSPC);
}

Cache::Cache(const std::optional<std::string>& directory, std::optional<Bytes> limit)
    : directory_(fs::absolute(directory ? *directory : default_directory()).lexically_normal().string()),
      limit_(limit) {
    if (directory_.size() > 1 && directory_.ends_with('/')) directory_.pop_back();
}

// Nothing when it is not there; throws when it cannot be trusted.
std::optional<uid_t> Cache::owner_of_directory() const {
    struct stat status = {};
    if (::stat(directory_.c_str(), &status) != 0) {
        if (errno == ENOENT) return std::nullopt;
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
    return status.st_uid;
}

void Cache::prepare() const {
    if (!owner_of_directory()) {
        std::error_code ignored;
        fs::create_directories(fs::path(directory_).parent_path(), ignored);
        if (::mkdir(directory_.c_str(), S_IRWXU) != 0 && errno != EEXIST)
            throw system_error(concat("cannot make the cache '", directory_, "' (see --cache-dir)"), errno);
        owner_of_directory();
    }
    remove_stale_temporaries(directory_);
}

std::vector<Cache::Entry> Cache::entries() const {
    std::vector<Entry> found;
    if (!owner_of_directory()) return found;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(directory_, error)) {
        const std::string name = file.path().filename().string();
        struct stat status = {};
        if (!is_entry_name(name) || ::lstat(file.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        found.push_back({name,
                         file.path().string(),
                         Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512),
                         Bytes(static_cast<std::uint64_t>(status.st_size)) > entry_end_size
                             ? Bytes(static_cast<std::uint64_t>(status.st_size)) - entry_end_size
                             : Bytes(0),
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

Cache::Found Cache::find(const std::string& name, Bytes capacity) const {
    const std::optional<uid_t> owner = owner_of_directory();
    if (!owner) return {};
    const std::string path = path_of(name);
    // Looked at first: opening a device may do something, and opening a FIFO would wait for its other end.
    const UniqueFd place(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!place && errno == ENOENT) return {};
    struct stat status = {};
    if (!place || ::fstat(place.get(), &status) != 0) throw system_error(concat("'", path, "'"), errno);
    if (std::string why = why_foreign(status, *owner); !why.empty()) return {nullptr, {}, std::move(why)};
    UniqueFd fd(::open(concat("/proc/self/fd/", place.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw system_error(concat("cannot open '", path, "'"), errno);
    FilePtr file = local_file(path, std::move(fd));
    if (file->size() != capacity + entry_end_size) return {};
    std::optional<EntryOrigin> origin = read_origin(*file);
    if (!origin) return {};
    return {std::move(file), std::move(*origin), ""};
}

Cache::Room Cache::room_for(const std::string& name) const {
    Room room;
    Bytes free;
    for (const Entry& entry : entries()) (entry.name == name ? free : room.taken) += entry.allocated;
    if (limit_) return {*limit_, room.taken, true};
    struct statvfs status = {};
    if (::statvfs(directory_.c_str(), &status) != 0)
        throw system_error(concat("the cache '", directory_, "'"), errno);
    free += Bytes(checked_multiply(status.f_bavail, status.f_frsize));
    room.limit = Bytes((free + room.taken).count() / 4);
    return room;
}

}  // namespace vmdkdm
