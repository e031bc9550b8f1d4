#include "embedded/receive_tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

// Not what is wrong with one name: nothing else could be made either.
bool is_final(int error) {
    return error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO || error == EMFILE;
}

// What file systems give a file at least, and what its holes are made of.
constexpr std::uint64_t block_size = 4096;
constexpr std::uint64_t no_block = ~std::uint64_t{0};

constexpr std::string_view what_stays = "; what has been copied stays";

mode_t current_umask() {
    const mode_t mask = ::umask(0);
    ::umask(mask);
    return mask;
}

struct timespec time_of(const Times& times) {
    return {times.seconds, static_cast<long>(times.nanoseconds)};
}

std::string_view word_of(char type) {
    switch (type) {
        case 'b':
            return "a block device";
        case 'c':
            return "a character device";
        case 'p':
            return "a FIFO";
        default:
            return "a socket";
    }
}

// Beside what it is to replace, for an instant, or where the file system knows no files without a name.
std::string passing_name() {
    static unsigned count = 0;
    return concat(".vmdk-dm-", ::getpid(), "-", ++count);
}

// False with errno. What is called `from` gets the name `to`.
bool rename_to(int directory, const std::string& from, const std::string& to, bool replace) {
    if (replace) return ::renameat(directory, from.c_str(), directory, to.c_str()) == 0;
    if (::renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return true;
    if (errno != EINVAL) return false;
    // An old file system; who makes it in between loses it.
    struct stat facts = {};
    if (::fstatat(directory, to.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0) return errno = EEXIST, false;
    return ::renameat(directory, from.c_str(), directory, to.c_str()) == 0;
}

// Not to be seen under its name until it is whole. It has none at all before, unless the file system knows no
// such files.
class NewFile {
  public:
    explicit NewFile(int directory) : directory_(directory) {
        file_.reset(::openat(directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
        if (file_) return;
        passing_ = passing_name();
        file_.reset(::openat(directory, passing_.c_str(),
                             O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!file_) passing_.clear();
    }
    ~NewFile() {
        if (!passing_.empty()) ::unlinkat(directory_, passing_.c_str(), 0);
    }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    int fd() const { return file_.get(); }
    // False with errno.
    bool give_name(const std::string& name, bool replace) {
        if (passing_.empty()) {
            const std::string first = replace ? passing_name() : name;
            if (::linkat(AT_FDCWD, concat("/proc/self/fd/", file_.get()).c_str(), directory_, first.c_str(),
                         AT_SYMLINK_FOLLOW) != 0)
                return false;
            if (!replace) return true;
            passing_ = first;
        }
        if (!rename_to(directory_, passing_, name, replace)) return false;
        passing_.clear();
        return true;
    }

  private:
    int directory_;
    UniqueFd file_;
    std::string passing_;
};

class Receiver {
  public:
    Receiver(const ReceiveOptions& options, const std::function<void(const std::string&)>& tell)
        : options_(options), tell_(tell), umask_(current_umask()) {}

    // Each gives false at the end.
    bool operator()(const EnterDirectory& record);
    bool operator()(const LeaveDirectory&);
    bool operator()(const FileBegin& record);
    bool operator()(const FileBytes& record);
    bool operator()(const FileEnd& record);
    bool operator()(const FileFailed& record);
    bool operator()(const SymbolicLink& record);
    bool operator()(const Special& record);
    bool operator()(const UnreadableEntry& record);
    bool operator()(const TreeEnd&);

    const Received& received() const { return received_; }

  private:
    struct Directory {
        UniqueFd fd;  // none: it could not be made, and nothing in it is
        mode_t mode = 0;
        Times modified;
        bool joined = false;
        std::string shown;  // its path, for messages
    };

    int here() const { return stack_.empty() ? options_.directory : stack_.back().fd.get(); }
    std::string name_of(const std::string& name) const { return stack_.empty() ? options_.name : name; }
    std::string path_of(const std::string& name) const {
        if (stack_.empty()) return options_.as_given;
        return shortened(concat(stack_.back().shown, "/", name));
    }
    // The deepest paths have a megabyte, and there may be a million.
    static std::string shortened(const std::string& path) {
        constexpr std::size_t end = 1000;
        return path.size() <= 3 * end ? path
                                      : concat(path.substr(0, end), " ... ", path.substr(path.size() - end));
    }

    void check_between_files() const {
        if (in_file_) throw Error(ErrorKind::format, "a record inside a file");
    }
    void check_in_file() const {
        if (!in_file_) throw Error(ErrorKind::format, "content outside a file");
    }
    // Before each name.
    void check_top() {
        check_between_files();
        if (stack_.empty() && top_seen_) throw Error(ErrorKind::format, "a second tree");
        top_seen_ = true;
        if (++names_ > options_.most_names)
            throw Error(ErrorKind::refused,
                        concat("'", options_.as_given, "': the copy would have more than ",
                               options_.most_names, " files and directories (see --max-files)", what_stays));
    }
    void take_blocks(std::uint64_t count) {
        blocks_ += count;
        if (blocks_ > options_.most_bytes / block_size)
            throw Error(ErrorKind::refused,
                        concat("'", options_.as_given, "': the copy would take more than ",
                               human_size(Bytes(options_.most_bytes)), " (see --max-size)", what_stays));
    }

    void leave_out(const std::string& path, std::string_view why) { tell_(concat("'", path, "': ", why)); }
    void fail(const std::string& path, std::string_view what, int error) {
        if (is_final(error)) throw system_error(concat("'", path, "': ", what), error);
        ++received_.failed;
        leave_out(path, concat(what, ": ", std::strerror(error)));
    }
    // Whether there is nothing of this name, or something that may be replaced.
    bool has_room(const std::string& name, const std::string& path);
    void give_up_file() {
        file_.reset();
        in_file_ = false;
    }

    const ReceiveOptions& options_;
    const std::function<void(const std::string&)>& tell_;
    mode_t umask_;
    std::vector<Directory> stack_;
    std::optional<NewFile> file_;
    FileBegin begin_;
    std::string file_path_;
    bool in_file_ = false;
    bool top_seen_ = false;
    std::uint64_t names_ = 0;
    std::uint64_t blocks_ = 0;
    std::uint64_t last_block_ = no_block;  // of the file, that was written to
    Received received_;
};

bool Receiver::has_room(const std::string& name, const std::string& path) {
    struct stat facts = {};
    if (::fstatat(here(), name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) return true;
    if (options_.replace && !S_ISDIR(facts.st_mode)) return true;
    ++received_.existing;
    leave_out(path, options_.replace ? "is there already, as a directory" : "is there already (see --force)");
    return false;
}

bool Receiver::operator()(const EnterDirectory& record) {
    check_top();
    if (stack_.size() > deepest_tree) throw Error(ErrorKind::format, "a tree without end");
    const std::string name = name_of(record.name);
    const std::string path = path_of(name);
    Directory directory{UniqueFd(), record.mode, record.modified, false, path};
    if (here() >= 0) {
        take_blocks(1);
        const int made = ::mkdirat(here(), name.c_str(), 0700) == 0 ? 0 : errno;
        directory.joined = made == EEXIST && options_.replace;
        if (made == 0 || directory.joined)
            directory.fd.reset(
                ::openat(here(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (made == EEXIST && !directory.joined) {
            ++received_.existing;
            leave_out(path, "is there already (see --force)");
        } else if (!directory.fd) {
            fail(path, "cannot make the directory", made == 0 || directory.joined ? errno : made);
        }
    }
    stack_.push_back(std::move(directory));
    return true;
}

bool Receiver::operator()(const LeaveDirectory&) {
    check_between_files();
    if (stack_.empty()) throw Error(ErrorKind::format, "the end of no directory");
    const Directory& directory = stack_.back();
    if (directory.fd && !directory.joined) {
        const struct timespec times[] = {time_of(directory.modified), time_of(directory.modified)};
        // So that the caller can look into it, and remove it.
        ::fchmod(directory.fd.get(), (directory.mode & 0777 & ~umask_) | 0700);
        ::futimens(directory.fd.get(), times);
    }
    stack_.pop_back();
    return true;
}

bool Receiver::operator()(const FileBegin& record) {
    check_top();
    in_file_ = true;
    last_block_ = no_block;
    begin_ = record;
    begin_.name = name_of(record.name);
    file_path_ = path_of(begin_.name);
    if (here() < 0 || !has_room(begin_.name, file_path_)) return true;
    take_blocks(1);
    file_.emplace(here());
    if (file_->fd() >= 0) return true;
    const int error = errno;
    file_.reset();
    fail(file_path_, "cannot make the file", error);
    return true;
}

bool Receiver::operator()(const FileBytes& record) {
    check_in_file();
    if (record.bytes.empty()) throw Error(ErrorKind::format, "content without a byte");
    if (!file_) return true;
    if (record.offset > std::uint64_t{1} << 62) throw Error(ErrorKind::format, "content beyond all files");
    const std::uint64_t first = record.offset / block_size;
    const std::uint64_t last = (record.offset + record.bytes.size() - 1) / block_size;
    take_blocks(last - first + (first == last_block_ ? 0 : 1));
    last_block_ = last;
    for (std::size_t done = 0; done < record.bytes.size();) {
        const ssize_t written = ::pwrite(file_->fd(), record.bytes.data() + done, record.bytes.size() - done,
                                         static_cast<off_t>(record.offset + done));
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            fail(file_path_, "cannot write the file", errno);
            file_.reset();
            return true;
        }
        done += static_cast<std::size_t>(written);
    }
    received_.bytes += record.bytes.size();
    return true;
}

bool Receiver::operator()(const FileEnd& record) {
    check_in_file();
    if (!file_) return give_up_file(), true;
    if (record.size > std::uint64_t{1} << 62) throw Error(ErrorKind::format, "a file beyond all files");
    bool made = ::ftruncate(file_->fd(), static_cast<off_t>(record.size)) == 0 &&
                ::fchmod(file_->fd(), (begin_.mode & 0777 & ~umask_) | 0400) == 0;
    const struct timespec times[] = {time_of(begin_.modified), time_of(begin_.modified)};
    // A time that this file system cannot keep is no reason to do without the file.
    if (made) ::futimens(file_->fd(), times);
    made = made && file_->give_name(begin_.name, options_.replace);
    if (made)
        ++received_.files;
    else
        fail(file_path_, "cannot make the file", errno);
    give_up_file();
    return true;
}

bool Receiver::operator()(const FileFailed& record) {
    check_in_file();
    ++received_.failed;
    leave_out(file_path_,
              concat("cannot be read to its end: ", std::strerror(static_cast<int>(record.error))));
    give_up_file();
    return true;
}

bool Receiver::operator()(const SymbolicLink& record) {
    check_top();
    const std::string name = name_of(record.name);
    const std::string path = path_of(name);
    if (here() < 0 || !has_room(name, path)) return true;
    take_blocks(1);
    const std::string first = options_.replace ? passing_name() : name;
    bool made = ::symlinkat(record.target.c_str(), here(), first.c_str()) == 0;
    if (made && options_.replace && !rename_to(here(), first, name, true)) {
        const int error = errno;
        ::unlinkat(here(), first.c_str(), 0);
        errno = error;
        made = false;
    }
    if (!made) {
        fail(path, "cannot make the symbolic link", errno);
        return true;
    }
    const struct timespec times[] = {time_of(record.modified), time_of(record.modified)};
    ::utimensat(here(), name.c_str(), times, AT_SYMLINK_NOFOLLOW);
    ++received_.files;
    return true;
}

bool Receiver::operator()(const Special& record) {
    check_top();
    leave_out(path_of(name_of(record.name)), concat("left out, as it is ", word_of(record.type)));
    return true;
}

bool Receiver::operator()(const UnreadableEntry& record) {
    check_top();
    ++received_.failed;
    leave_out(path_of(name_of(record.name)),
              concat("cannot be read: ", std::strerror(static_cast<int>(record.error))));
    return true;
}

bool Receiver::operator()(const TreeEnd&) {
    check_between_files();
    if (!stack_.empty()) throw Error(ErrorKind::format, "the end inside a directory");
    return false;
}

}  // namespace

Received receive_tree(const FillFrom& stream, const ReceiveOptions& options,
                      const std::function<void(const std::string&)>& tell) {
    Receiver receiver(options, tell);
    while (std::visit(receiver, read_record(stream))) continue;
    return receiver.received();
}

}  // namespace vmdkdm
