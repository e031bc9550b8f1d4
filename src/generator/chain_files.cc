#include "generator/chain_files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <memory>

#include "base/unique_fd.h"
#include "files/confined_opener.h"
#include "reader/confined_reader.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// No chain that is in use comes near it; a descriptor of a million extents must not cost the boot its memory.
constexpr std::size_t max_answer = 1 << 20;
// Processes that read at the same time.
constexpr std::size_t max_readers = 64;

// In the process that opens files for the one that reads
// ------------------------------------------------------------------------------------------------

// Passes everything on to another FileOpener and writes down what was asked for. A file that is not there is
// the very one whose file system is yet to be mounted.
class TellingOpener : public FileOpener {
  public:
    TellingOpener(FileOpener& opener, int out) : opener_(opener), out_(out) {}

    FilePtr open_image(const std::string& path) override {
        FilePtr file = opener_.open_image(path);
        tell(file->path());
        return file;
    }

    FilePtr open_beside(const File& from, const std::string& name) override {
        const std::string place = (fs::path(from.path()).parent_path() / name).lexically_normal().string();
        try {
            FilePtr file = opener_.open_beside(from, name);
            // A device by the name that udev gives it, not the kernel's, which changes over boots.
            tell(file->kind() == FileKind::block_device ? place : file->path());
            return file;
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::not_found) tell(place);
            throw;
        }
    }

  private:
    // The pipe is the only way out; whoever does not want to hear more ends us.
    void tell(const std::string& path) const {
        const char* at = path.c_str();
        std::size_t left = path.size() + 1;
        while (left > 0) {
            const ssize_t written = ::write(out_, at, left);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) ::_exit(1);
            at += written;
            left -= static_cast<std::size_t>(written);
        }
    }

    FileOpener& opener_;
    int out_;
};

// Those that are not there yet are none for the opener, and known from the entry.
std::vector<std::string> directories(const std::vector<std::string>& paths) {
    std::vector<std::string> found;
    std::error_code ignored;
    for (const std::string& path : paths)
        if (fs::is_directory(path, ignored)) found.push_back(path);
    return found;
}

unsigned layer_of(const TabEntry& entry) {
    unsigned layer = 0;
    const TabOption* option = entry.find("layer");
    if (option != nullptr && option->value)
        std::from_chars(option->value->data(), option->value->data() + option->value->size(), layer);
    return layer;
}

// In a confined child: what is asked for on the way is all that is wanted.
void ask_for_files(const std::string& path, FileOpener& asking, const ChainRules& rules) {
    std::vector<std::string> notes;
    const PartialChain partial = read_partial_chain(read_image(path, asking), asking, rules, notes);
    for (const Image& image : partial.chain.images)
        for (const ExtentDescriptor& extent : image.descriptor.extents) try {
                if (!extent.file_name.empty()) open_extent_file(image, extent, asking, notes);
            } catch (const Error&) {
                // Told already, if it is a matter of where it lies.
            }
}

void tell_files(const TabEntry& entry, int out) {
    OpenRules rules;
    rules.allow_paths = directories(entry.values("allow-path"));
    const std::vector<std::string> search_dirs = directories(entry.values("search-dir"));
    rules.allow_paths.insert(rules.allow_paths.end(), search_dirs.begin(), search_dirs.end());
    rules.allow_devices = entry.has("allow-devices");
    ConfinedOpener confined(rules);
    TellingOpener opener(confined, out);

    const ChainRules chain_rules{{}, search_dirs, true, layer_of(entry)};
    Reading reading{entry.image.path, opener};
    reading.read = [&](FileOpener& asking, ParentLink&, Encoder&) {
        ask_for_files(entry.image.path, asking, chain_rules);
    };
    reading.decode = [](Decoder&, const std::vector<FilePtr>&) {};
    read_confined(reading);
}

[[noreturn]] void tell_and_exit(const TabEntry& entry, int out) {
    try {
        tell_files(entry, out);
    } catch (const std::exception&) {
        // attach will say it, in the journal of its unit.
    }
    ::_exit(0);
}

// In the process that waits
// ------------------------------------------------------------------------------------------------

class Reader {
  public:
    explicit Reader(const TabEntry& entry) : name_(entry.name) {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) return;
        UniqueFd write_end(ends[1]);
        in_.reset(ends[0]);
        process_ = ::fork();
        if (process_ == 0) tell_and_exit(entry, write_end.get());
    }
    Reader(Reader&&) = delete;
    // A process that hangs in the kernel dies when that lets it, without us.
    ~Reader() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, WNOHANG);
    }

    const std::string& name() const { return name_; }
    int fd() const { return process_ > 0 ? in_.get() : -1; }

    // Reads what there is; closes its end when there will be no more.
    void read_some() {
        char buffer[4096];
        const ssize_t count = ::read(in_.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) return;
        if (count > 0) answer_.append(buffer, static_cast<std::size_t>(count));
        if (count <= 0 || answer_.size() > max_answer) in_.reset();
    }

    std::vector<std::string> files() const {
        std::vector<std::string> found;
        std::size_t start = 0;
        for (std::size_t end = 0; (end = answer_.find('\0', start)) != std::string::npos; start = end + 1) {
            std::string path = answer_.substr(start, end - start);
            if (std::find(found.begin(), found.end(), path) == found.end()) found.push_back(std::move(path));
        }
        return found;
    }

  private:
    std::string name_;
    UniqueFd in_;
    pid_t process_ = -1;
    std::string answer_;
};

// Only silence is a sign that a file system hangs: a machine that starts is busy.
void wait_for(std::vector<std::unique_ptr<Reader>>& readers, std::chrono::milliseconds quiet,
              Clock::time_point end) {
    while (true) {
        std::vector<pollfd> waiting;
        std::vector<Reader*> of;
        for (const auto& reader : readers)
            if (reader->fd() >= 0) {
                waiting.push_back({reader->fd(), POLLIN, 0});
                of.push_back(reader.get());
            }
        const auto left =
            std::min(quiet, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()));
        if (waiting.empty() || left.count() <= 0) return;
        const int ready = ::poll(waiting.data(), waiting.size(), static_cast<int>(left.count()));
        if (ready == 0 || (ready < 0 && errno != EINTR)) return;
        for (std::size_t i = 0; i < waiting.size() && ready > 0; ++i)
            if (waiting[i].revents != 0) of[i]->read_some();
    }
}

}  // namespace

std::map<std::string, std::vector<std::string>> find_chain_files(const std::vector<TabEntry>& entries,
                                                                 const ReadingTime& time) {
    const Clock::time_point end = Clock::now() + time.total;
    std::map<std::string, std::vector<std::string>> files;
    for (std::size_t first = 0; first < entries.size() && Clock::now() < end;) {
        std::vector<std::unique_ptr<Reader>> readers;
        for (; first < entries.size() && readers.size() < max_readers; ++first)
            if (entries[first].image.device.empty() && !entries[first].has("x-initrd.attach"))
                readers.push_back(std::make_unique<Reader>(entries[first]));
        wait_for(readers, time.quiet, end);
        for (const auto& reader : readers) files[reader->name()] = reader->files();
    }
    return files;
}

}  // namespace vmdkdm
