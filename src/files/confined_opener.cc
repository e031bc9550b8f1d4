#include "files/confined_opener.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "files/real_file.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// The message of a failure names no path; the caller has.
std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
    if (!resolved) throw system_error("", errno);
    return resolved.get();
}

std::string directory_of(const std::string& absolute_path) {
    return fs::path(absolute_path).parent_path().string();
}

std::string normal_absolute(const std::string& path) {
    return fs::absolute(fs::path(path)).lexically_normal().string();
}

// `path` (normalised, absolute) relative to `directory`, or nothing when it lies elsewhere.
std::optional<std::string> path_below(const std::string& directory, const std::string& path) {
    const std::string prefix = directory.ends_with('/') ? directory : directory + '/';
    if (!path.starts_with(prefix) || path.size() == prefix.size()) return std::nullopt;
    return path.substr(prefix.size());
}

// A descriptor naming files in more directories than this has them looked up from its own one each time.
constexpr std::size_t most_directories = 256;

// openat2 with O_PATH, so that what is found can be asked what it is without being opened for reading, and
// with no symlink on the way; -1 and errno when there is no such thing.
int look_up(int directory, const std::string& name, std::uint64_t flags, std::uint64_t resolve) {
    struct open_how how = {};
    how.flags = O_PATH | O_CLOEXEC | flags;
    how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve;
    long fd = -1;
    // EAGAIN: a rename raced with the walk; the kernel asks for another try.
    for (int attempt = 0; attempt < 16; ++attempt) {
        fd = ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    if (fd < 0 && errno == ENOSYS)
        throw Error(ErrorKind::system,
                    "this kernel has no openat2 (Linux 5.6), so files cannot be opened safely");
    return static_cast<int>(fd);
}

// A handle on `name` below `directory`. Nothing when a symlink stands in the way.
std::optional<UniqueFd> look_up_below(const UniqueFd& directory, const std::string& name, std::uint64_t flags,
                                      const std::string& path) {
    UniqueFd located(look_up(directory.get(), name, flags, RESOLVE_BENEATH));
    if (!located && errno == ELOOP) return std::nullopt;
    if (!located) throw system_error(concat("'", path, "'"), errno);
    // O_PATH opens a symlink itself when it is the last component.
    struct stat status = {};
    if (::fstat(located.get(), &status) != 0) throw system_error("fstat", errno);
    if (S_ISLNK(status.st_mode)) return std::nullopt;
    return located;
}

FilePtr open_located(const UniqueFd& located, const std::string& path, bool allow_devices) {
    struct stat status = {};
    if (::fstat(located.get(), &status) != 0) throw system_error(concat("cannot stat '", path, "'"), errno);
    const bool is_device = S_ISBLK(status.st_mode);
    if (is_device && !allow_devices)
        throw Error(ErrorKind::refused, concat("'", path, "' is a block device (see --allow-devices)"));
    if (!is_device && !S_ISREG(status.st_mode))
        throw Error(ErrorKind::refused, concat("'", path, "' is neither a regular file nor a block device"));

    // Reopening the handle, not the path: what was checked is what is read.
    const std::string handle = concat("/proc/self/fd/", located.get());
    UniqueFd fd(::open(handle.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) throw system_error(concat("'", path, "'"), errno);
    if (!is_device)
        return std::make_shared<RealFile>(path, std::move(fd), FileKind::regular,
                                          FileIdentity{status.st_dev, status.st_ino},
                                          Bytes(static_cast<std::uint64_t>(status.st_size)));
    std::uint64_t size = 0;
    if (::ioctl(fd.get(), BLKGETSIZE64, &size) != 0)
        throw system_error(concat("cannot size '", path, "'"), errno);
    return std::make_shared<RealFile>(path, std::move(fd), FileKind::block_device,
                                      FileIdentity{status.st_rdev, 0}, Bytes(size));
}

UniqueFd locate(const std::string& path) {
    UniqueFd located(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!located) throw system_error(concat("'", path, "'"), errno);
    return located;
}

// The path of a pipe, such as /dev/stdin or a process substitution, leads nowhere when it is resolved.
void refuse_pipe(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
        throw Error(ErrorKind::refused,
                    "it is a pipe, and an image is read in any order: save it as a file first");
}

bool is_block_device(const UniqueFd& located) {
    struct stat status = {};
    return ::fstat(located.get(), &status) == 0 && S_ISBLK(status.st_mode);
}

}  // namespace

FilePtr open_named_file(const std::string& path, bool allow_device) {
    const std::string real = with_context(concat("'", path, "'"), [&] { return real_path(path); });
    return open_located(locate(real), real, allow_device);
}

ConfinedOpener::ConfinedOpener(const OpenRules& rules) : allow_devices_(rules.allow_devices) {
    for (const std::string& path : rules.allow_paths) {
        if (!fs::is_directory(path))
            throw Error(ErrorKind::usage, concat("--allow-path '", path, "' is not a directory"));
        allowed_.push_back({real_path(path), normal_absolute(path + "/.")});
        if (allowed_.back().as_given.ends_with('/') && allowed_.back().as_given.size() > 1)
            allowed_.back().as_given.pop_back();
    }
}

// Opened by its path here, and from then on the one that was opened.
const UniqueFd& ConfinedOpener::directory(const std::string& path) {
    const auto known = directories_.find(path);
    if (known != directories_.end()) return known->second;
    UniqueFd opened(look_up(AT_FDCWD, path, O_DIRECTORY, 0));
    if (!opened) throw system_error(concat("'", path, "'"), errno);
    return directories_.emplace(path, std::move(opened)).first->second;
}

// A handle on `relative` below the directory `root`; nothing when a symlink stands in the way. The directory
// of the file itself is kept too: it is where the names in that file are looked up.
std::optional<UniqueFd> ConfinedOpener::locate_below(const std::string& root, const std::string& relative) {
    const std::string path = concat(root, "/", relative);
    const fs::path name = fs::path(relative).filename();
    const std::string below = fs::path(relative).parent_path().string();
    if (name.empty() || below.empty()) return look_up_below(directory(root), relative, 0, path);
    const std::string holder = (fs::path(root) / below).string();
    if (!directories_.contains(holder)) {
        if (directories_.size() >= most_directories) return look_up_below(directory(root), relative, 0, path);
        std::optional<UniqueFd> found = look_up_below(directory(root), below, O_DIRECTORY, path);
        if (!found) return std::nullopt;
        directories_.emplace(holder, std::move(*found));
    }
    return look_up_below(directories_.at(holder), name.string(), 0, path);
}

FilePtr ConfinedOpener::open_image(const std::string& path) {
    refuse_pipe(path);
    const std::string real = real_path(path);
    image_roots_.push_back({directory_of(real), directory_of(normal_absolute(path))});
    const fs::path name = fs::path(real).filename();
    if (name.empty()) throw Error(ErrorKind::refused, concat("'", path, "' is a directory"));
    // Out of the directory in which its extents will be looked up.
    const std::optional<UniqueFd> found = locate_below(directory_of(real), name.string());
    if (!found)
        throw Error(ErrorKind::busy, concat("'", path, "' became a symbolic link while it was opened"));
    const UniqueFd& located = *found;
    if (is_block_device(located))
        throw Error(ErrorKind::refused, concat("'", path, "' is a block device, not an image"));
    return open_located(located, real, /*allow_devices=*/false);
}

FilePtr ConfinedOpener::open_beside(const File& from, const std::string& name) {
    const std::string directory = directory_of(from.path());
    const std::string absolute = normal_absolute(name.starts_with('/') ? name : directory + '/' + name);

    std::vector<Root> roots = {{directory, directory}};
    for (const Root& root : image_roots_)
        if (root.path == directory) roots.push_back(root);
    roots.insert(roots.end(), allowed_.begin(), allowed_.end());

    bool met_symlink = false;
    std::optional<Error> not_found;
    for (const Root& root : roots) {
        std::optional<std::string> relative = path_below(root.path, absolute);
        if (!relative) relative = path_below(root.as_given, absolute);
        if (!relative) continue;
        try {
            const std::optional<UniqueFd> located = locate_below(root.path, *relative);
            if (located)
                return open_located(*located, (fs::path(root.path) / *relative).string(), allow_devices_);
            met_symlink = true;
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::not_found) throw;
            if (!not_found) not_found = error;
        }
    }
    // A symlink may still lead into a directory that the user allowed by name.
    if (met_symlink) {
        const std::string real =
            with_context(concat("'", absolute, "'"), [&] { return real_path(absolute); });
        for (const Root& root : allowed_) {
            const std::optional<std::string> relative = path_below(root.path, real);
            if (!relative) continue;
            if (const auto located = locate_below(root.path, *relative))
                return open_located(*located, real, allow_devices_);
        }
    }
    if (not_found) throw *not_found;
    if (allow_devices_ && absolute.starts_with("/dev/")) {
        const std::string real =
            with_context(concat("'", absolute, "'"), [&] { return real_path(absolute); });
        const UniqueFd located = locate(real);
        if (is_block_device(located)) return open_located(located, real, true);
        throw Error(ErrorKind::refused, concat("'", name, "' is not a block device"));
    }
    if (met_symlink)
        throw Error(ErrorKind::refused,
                    concat("'", name, "' is a symbolic link or lies behind one (see --allow-path)"));
    if (absolute.starts_with("/dev/"))
        throw Error(ErrorKind::refused,
                    concat("'", name, "' is outside the image's directory (see --allow-devices)"));
    throw Error(ErrorKind::refused,
                concat("'", name, "' is outside the image's directory (see --allow-path)"));
}

}  // namespace vmdkdm
