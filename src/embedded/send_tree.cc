#include "embedded/send_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "embedded/tree_stream.h"

namespace vmdkdm {
namespace {

class Sender {
  public:
    explicit Sender(int descriptor) : descriptor_(descriptor) {}

    void send(const TreeRecord& record) {
        pending_ += to_bytes(record);
        if (pending_.size() >= enough) flush();
    }
    void send_block(std::uint64_t offset, std::string_view bytes) {
        pending_ += block_header(offset, bytes.size());
        flush();
        write(bytes);
    }
    void flush() {
        write(pending_);
        pending_.clear();
    }

    void send_entry(int directory, const std::string& name, std::size_t depth);
    /// An open directory, under a name that it need not have.
    void send_contents(int directory, const std::string& name, const struct stat& facts, std::size_t depth);

  private:
    static constexpr std::size_t enough = 32768;

    void write(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
            if (written < 0 && errno != EINTR) throw system_error("cannot hand over", errno);
            bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
        }
    }
    void send_directory(int parent, const std::string& name, const struct stat& facts, std::size_t depth);
    void send_file(int directory, const std::string& name, const struct stat& facts);
    void send_link(int directory, const std::string& name, const struct stat& facts);
    /// False with errno.
    bool send_content(int file, std::uint64_t size);

    int descriptor_;
    std::string pending_;
    std::string block_ = std::string(largest_block, '\0');
};

Times modified(const struct stat& facts) {
    return {facts.st_mtim.tv_sec, static_cast<std::uint32_t>(facts.st_mtim.tv_nsec)};
}

std::uint32_t last_error() { return static_cast<std::uint32_t>(errno); }

void Sender::send_entry(int directory, const std::string& name, std::size_t depth) {
    struct stat facts = {};
    if (::fstatat(directory, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0)
        return send(UnreadableEntry{name, last_error()});
    switch (facts.st_mode & S_IFMT) {
        case S_IFDIR:
            return send_directory(directory, name, facts, depth);
        case S_IFREG:
            return send_file(directory, name, facts);
        case S_IFLNK:
            return send_link(directory, name, facts);
        case S_IFBLK:
            return send(Special{name, 'b'});
        case S_IFCHR:
            return send(Special{name, 'c'});
        case S_IFIFO:
            return send(Special{name, 'p'});
        default:
            return send(Special{name, 's'});
    }
}

// All at once, so that a deep tree costs one descriptor for each level and no stream of entries.
std::optional<std::vector<std::string>> names_in(int directory) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::fcntl(directory, F_DUPFD_CLOEXEC, 0)),
                                                     ::closedir);
    if (!stream) return std::nullopt;
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
        errno = 0;
    }
    if (errno != 0) return std::nullopt;
    return names;
}

void Sender::send_directory(int parent, const std::string& name, const struct stat& facts,
                            std::size_t depth) {
    if (depth >= deepest_tree) return send(UnreadableEntry{name, ELOOP});
    const UniqueFd directory(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return send(UnreadableEntry{name, last_error()});
    send_contents(directory.get(), name, facts, depth);
}

void Sender::send_contents(int directory, const std::string& name, const struct stat& facts,
                           std::size_t depth) {
    const auto names = names_in(directory);
    if (!names) return send(UnreadableEntry{name, last_error()});
    send(EnterDirectory{name, facts.st_mode & 07777, modified(facts)});
    for (const std::string& each : *names) send_entry(directory, each, depth + 1);
    send(LeaveDirectory{});
}

void Sender::send_file(int directory, const std::string& name, const struct stat& facts) {
    const UniqueFd file(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return send(UnreadableEntry{name, last_error()});
    send(FileBegin{name, facts.st_mode & 07777, modified(facts)});
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    if (send_content(file.get(), size))
        send(FileEnd{size});
    else
        send(FileFailed{last_error()});
}

// Where a file system does not know of holes, all is data.
std::pair<std::uint64_t, std::uint64_t> next_data(int file, std::uint64_t from, std::uint64_t size) {
    const off_t data = ::lseek(file, static_cast<off_t>(from), SEEK_DATA);
    if (data < 0) return errno == ENXIO ? std::pair(size, size) : std::pair(from, size);
    const off_t hole = ::lseek(file, data, SEEK_HOLE);
    return {static_cast<std::uint64_t>(data),
            hole < 0 ? size : std::min(size, static_cast<std::uint64_t>(hole))};
}

bool Sender::send_content(int file, std::uint64_t size) {
    std::uint64_t at = 0;
    while (at < size) {
        const auto [begin, end] = next_data(file, at, size);
        for (at = begin; at < end;) {
            const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(block_.size(), end - at));
            const ssize_t got = ::pread(file, block_.data(), wanted, static_cast<off_t>(at));
            if (got < 0 && errno == EINTR) continue;
            if (got == 0) errno = EIO;  // shorter than it says
            if (got <= 0) return false;
            send_block(at, {block_.data(), static_cast<std::size_t>(got)});
            at += static_cast<std::uint64_t>(got);
        }
        at = std::max(at, end);
    }
    return true;
}

void Sender::send_link(int directory, const std::string& name, const struct stat& facts) {
    std::string target(4096, '\0');
    const ssize_t size = ::readlinkat(directory, name.c_str(), target.data(), target.size());
    if (size <= 0 || static_cast<std::size_t>(size) == target.size())
        return send(UnreadableEntry{name, size < 0 ? last_error() : std::uint32_t{ENAMETOOLONG}});
    target.resize(static_cast<std::size_t>(size));
    send(SymbolicLink{name, target, modified(facts)});
}

UniqueFd open_in_root(int root, const std::string& path, const std::string& for_message) {
    open_how how = {};
    how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    UniqueFd opened(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (!opened) throw system_error(concat("'", for_message, "' of the image"), errno);
    return opened;
}

}  // namespace

void send_tree(const std::string& root, const std::string& path, int descriptor) {
    const UniqueFd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!top) throw system_error(concat("cannot open '", root, "'"), errno);
    std::string parent = path;
    while (parent.ends_with('/')) parent.pop_back();
    std::string name = parent.substr(parent.rfind('/') + 1);  // all of it when there is no slash left
    parent.resize(parent.size() - name.size());
    // The root, or what is called by going up: a directory without a name of its own.
    const bool nameless = name.empty() || name == "." || name == "..";
    const UniqueFd directory = open_in_root(top.get(), nameless ? path : concat("/", parent), path);
    struct stat facts = {};
    if (::fstatat(directory.get(), nameless ? "." : name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0)
        throw system_error(concat("'", path, "' of the image"), errno);

    Sender sender(descriptor);
    if (nameless)
        sender.send_contents(directory.get(), "root", facts, 0);
    else
        sender.send_entry(directory.get(), name, 0);
    sender.send(TreeEnd{});
    sender.flush();
}

}  // namespace vmdkdm
