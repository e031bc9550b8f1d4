#include "compact/output_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
    struct stat status = {};
    return ::lstat(path.c_str(), &status) == 0;
}

std::string resolved(const std::string& path) {
    std::error_code error;
    const fs::path whole = fs::weakly_canonical(fs::absolute(path), error);
    return error ? fs::absolute(path).lexically_normal().string() : whole.string();
}

std::string temporary_name(const std::string& path) {
    static std::atomic<unsigned> number{0};
    const fs::path whole(path);
    // The name may be as long as a name can be.
    const std::string name = whole.filename().string().substr(0, 200);
    return (whole.parent_path() / concat(".", name, temporary_mark, ::getpid(), ".", number++)).string();
}

void sync_directory(const std::string& directory) {
    const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd) ::fsync(fd.get());
}

}  // namespace

OutputFile::OutputFile(const std::string& path, Bytes size, bool replace, mode_t mode, std::string hint)
    : path_(resolved(path)),
      directory_(fs::path(path_).parent_path().string()),
      replace_(replace),
      hint_(std::move(hint)) {
    struct stat status = {};
    if (::lstat(path_.c_str(), &status) == 0) {
        if (!S_ISREG(status.st_mode))
            throw Error(ErrorKind::refused, concat("'", path, "' is not a regular file",
                                                   S_ISBLK(status.st_mode) ? " (see --to-device)" : ""));
        if (!replace) throw Error(ErrorKind::busy, concat("'", path, "' exists", hint_));
    }
    fd_.reset(::open(directory_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode));
    // File systems without it answer in different ways; those without the directory answer the second call
    // too.
    if (!fd_) {
        temporary_ = temporary_name(path_);
        fd_.reset(::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
        if (!fd_) {
            const int error = errno;
            temporary_.clear();
            throw system_error(concat("cannot create a file in '", directory_, "'"), error);
        }
    }
    if (::ftruncate(fd_.get(), static_cast<off_t>(size.count())) != 0) {
        const int error = errno;
        remove_temporary();
        throw system_error(concat("cannot make '", path_, "' ", size.count(), " bytes long"), error);
    }
}

OutputFile::~OutputFile() { remove_temporary(); }

void OutputFile::remove_temporary() noexcept {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    temporary_.clear();
}

void OutputFile::link_to(const std::string& name) const {
    const std::string self = concat("/proc/self/fd/", fd_.get());
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    if (errno == EEXIST) throw Error(ErrorKind::busy, concat("'", name, "' exists", hint_));
    throw system_error(concat("cannot give '", name, "' its name"), errno);
}

void OutputFile::publish(bool sync) {
    if (sync && ::fsync(fd_.get()) != 0)
        throw system_error(concat("cannot write '", path_, "' to the disk"), errno);
    if (temporary_.empty() && !replace_) {
        link_to(path_);
    } else {
        if (temporary_.empty()) {
            const std::string name = temporary_name(path_);
            link_to(name);
            temporary_ = name;
        }
        int result = ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(),
                                 replace_ ? 0U : RENAME_NOREPLACE);
        // Not every file system can tell.
        if (result != 0 && errno == EINVAL && !exists(path_))
            result = ::rename(temporary_.c_str(), path_.c_str());
        if (result != 0 && (errno == EEXIST || (errno == EINVAL && exists(path_))))
            throw Error(ErrorKind::busy, concat("'", path_, "' exists", hint_));
        if (result != 0) throw system_error(concat("cannot give '", path_, "' its name"), errno);
        temporary_.clear();
    }
    if (sync) sync_directory(directory_);
}

void remove_stale_temporaries(const std::string& directory) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored)) {
        const std::string name = entry.path().filename().string();
        const auto mark = name.rfind(temporary_mark);
        if (!name.starts_with('.') || mark == std::string::npos) continue;
        pid_t process = 0;
        const char* digits = name.data() + mark + std::char_traits<char>::length(temporary_mark);
        const auto [end, error] = std::from_chars(digits, name.data() + name.size(), process);
        if (error != std::errc() || *end != '.' || process <= 0) continue;
        if (::kill(process, 0) != 0 && errno == ESRCH) ::unlink(entry.path().c_str());
    }
}

}  // namespace vmdkdm
