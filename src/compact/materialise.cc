#include "compact/materialise.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "compact/damage.h"
#include "compact/digest.h"
#include "compact/output_file.h"
#include "compact/progress.h"
#include "compact/rebuild.h"
#include "files/local_file.h"

namespace vmdkdm {
namespace {

constexpr Sectors largest_gap{2048};
constexpr std::uint64_t layout_version = 1;  // of what the entries hold and how they are named

bool is_extracted(const Content& content, Extract extract) {
    return std::holds_alternative<Compressed>(content) ||
           (extract == Extract::everything && std::holds_alternative<Stored>(content));
}

// By which image an entry is known. That it has the same name proves nothing (another file system may show
// the same path, inode and times), only that there is no need to read all of an image that has no entry of
// its name. Not the number of the device that a file is on: it changes from boot to boot.
class Key {
  public:
    Key() : hasher_(HashAlgorithm::sha256) {}

    void add(std::uint64_t number) {
        std::array<std::byte, 8> bytes{};
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
        hasher_.update(bytes);
    }
    void add(const std::string& text) {
        add(text.size());
        hasher_.update(std::as_bytes(std::span(text)));
    }
    void add(const timespec& time) {
        add(static_cast<std::uint64_t>(time.tv_sec));
        add(static_cast<std::uint64_t>(time.tv_nsec));
    }
    void add(const MappedFile& mapped) {
        add(mapped.file->path());
        add(mapped.file->identity().inode);
        add(mapped.file->size().count());
        struct stat status = {};
        if (mapped.file->fd() >= 0) {
            if (::fstat(mapped.file->fd(), &status) != 0)
                throw system_error(concat("'", mapped.file->path(), "'"), errno);
            add(status.st_mtim);
            add(status.st_ctim);
        }
        if (mapped.grains) {
            add(mapped.grains->extent_start.count());
            add(mapped.grains->extent_size.count());
            add(mapped.grains->grain_size.count());
        }
    }
    void add(const Run& run) {
        add(run.start.count());
        add(run.length.count());
        add(run.content.index());
        if (const auto* stored = std::get_if<Stored>(&run.content)) {
            add(stored->file);
            add(stored->sector.count());
        } else if (const auto* compressed = std::get_if<Compressed>(&run.content)) {
            add(compressed->file);
            add(compressed->sector.count());
            add(compressed->skip);
        }
    }
    std::string finish() { return hasher_.finish(); }

  private:
    Hasher hasher_;
};

std::string key_of(const BlockMap& map, Extract extract) {
    Key key;
    key.add(layout_version);
    key.add(map.capacity().count());
    std::set<FileIndex> files;
    for (const Run& run : map) {
        if (!is_extracted(run.content, extract)) continue;
        key.add(run);
        if (const auto* stored = std::get_if<Stored>(&run.content)) files.insert(stored->file);
        if (const auto* compressed = std::get_if<Compressed>(&run.content)) files.insert(compressed->file);
    }
    for (const FileIndex file : files) {
        key.add(file);
        key.add(map.files()[file]);
    }
    return key.finish();
}

std::string entry_name(const BlockMap& map, Extract extract, const std::string& image_path) {
    std::string base = std::filesystem::path(image_path).filename().string();
    if (base.ends_with(".vmdk")) base.resize(base.size() - 5);
    // A name that begins with a dot is a temporary one here; and a name has 255 bytes at most.
    while (base.starts_with('.')) base.erase(0, 1);
    return concat(base.empty() ? "disk" : base.substr(0, 180), ".", key_of(map, extract).substr(0, 32),
                  ".raw");
}

Bytes extracted_bytes(const BlockMap& map, Extract extract) {
    Bytes bytes;
    for (const Run& run : map)
        if (is_extracted(run.content, extract)) bytes += to_bytes(run.length);
    return bytes;
}

// The entry, if it was made from the bytes that are there now; null otherwise.
FilePtr valid_entry(const BlockMap& map, Extract extract, const Cache::Found& found, Progress& progress) {
    if (!found.file) return nullptr;
    CopyOptions options;
    options.extract = extract;
    options.allow_damaged = true;
    options.pass_over_unreadable = true;
    options.content = found.origin.key;
    options.inflates = false;
    const CopyResult result = copy_disk(map, nullptr, options, progress);
    return result.damaged.empty() && result.content == found.origin.content ? found.file : nullptr;
}

Bytes allocated_bytes(const OutputFile& file) {
    struct stat status = {};
    if (::fstat(file.fd(), &status) != 0) throw system_error(concat("'", file.path(), "'"), errno);
    return Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512);
}

// Holds the copy to the cache's limit. The process that writes it keeps to that by itself, unless the image
// that it reads has taken it over: so the file is looked at.
class WatchedProgress : public Progress {
  public:
    WatchedProgress(const OutputFile& output, const Cache& cache, const std::string& name, Progress& progress)
        : output_(output), cache_(cache), room_(cache.room_for(name)), progress_(progress) {}

    void update(Bytes done, Bytes total) override {
        check();
        progress_.update(done, total);
    }

    void check() const {
        if (allocated_bytes(output_) > room_.left()) throw Error(ErrorKind::refused, too_much());
    }

    /// For the disk alone.
    Bytes most() const { return room_.left() - std::min(room_.left(), entry_end_size); }
    std::string too_much() const {
        return concat("the disk takes more than the ", room_.left().count(), " bytes that the cache '",
                      cache_.directory(), "' has room for: its limit is ", room_.limit.count(), " bytes",
                      room_.by_user ? "" : ", a quarter of what is free there", ", and ", room_.taken.count(),
                      " are taken (see --cache-limit, --cache-dir and vmdk-dm cache --clear)");
    }

  private:
    const OutputFile& output_;
    const Cache& cache_;
    Cache::Room room_;
    Progress& progress_;
};

// The same file, which may have no name, read-only from here on.
FilePtr reopened(const std::string& path, int fd) {
    UniqueFd readable(::open(concat("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!readable) throw system_error(concat("cannot open '", path, "' again"), errno);
    return local_file(path, std::move(readable));
}

}  // namespace

BlockMap redirect(const BlockMap& map, const FilePtr& file, Extract extract) {
    MapRebuilder rebuilt(map);
    bool after_extracted = false;
    for (std::size_t i = 0; i < map.size(); ++i) {
        const Run run = map[i];
        const bool is_zero = std::holds_alternative<Zero>(run.content);
        const bool between = is_zero && after_extracted && run.length <= largest_gap && i + 1 < map.size() &&
                             is_extracted(map[i + 1].content, extract);
        const bool from_file =
            is_extracted(run.content, extract) || between || (is_zero && extract == Extract::everything);
        if (from_file)
            rebuilt.stored(run.length, file);
        else
            rebuilt.keep(run);
        after_extracted = from_file;
    }
    return std::move(rebuilt).build();
}

Materialised materialise(const BlockMap& map, Extract extract, const Cache& cache,
                         const std::string& image_path, const MaterialiseOptions& options,
                         Progress& progress) {
    const Bytes capacity = to_bytes(map.capacity());
    const std::string name = entry_name(map, extract, image_path);
    std::vector<std::string> notes;
    const Cache::Found found = cache.find(name, capacity);
    if (!options.anew)
        if (FilePtr file = valid_entry(map, extract, found, progress)) {
            ::futimens(file->fd(), nullptr);  // its time of writing says when it was last used
            return {file, redirect(map, file, extract), Bytes(0), true, {}, {}};
        }

    cache.prepare();
    const std::string path = cache.path_of(name);
    if (!found.refused.empty()) {
        // A symbolic link would be followed.
        if (::unlink(path.c_str()) != 0 && errno != ENOENT)
            throw system_error(concat("'", path, "' ", found.refused), errno);
        notes.push_back(concat("'", path, "' ", found.refused, ": it is not used, and is replaced"));
    }
    constexpr std::string_view where = "the cache (see --cache-dir)";
    OutputFile output = with_context(
        where, [&] { return OutputFile(path, capacity + entry_end_size, true, S_IRUSR | S_IWUSR); });
    WatchedProgress watched(output, cache, name, progress);
    EntryOrigin origin{new_content_key(), ""};
    CopyOptions copy;
    copy.extract = extract;
    copy.allow_damaged = options.allow_damaged;
    copy.pass_over_unreadable = true;
    copy.content = origin.key;
    CopyTarget target;
    target.fd = output.fd();
    target.path = path;
    target.hint = " (see --cache-dir)";
    target.most = watched.most();
    target.too_much = watched.too_much();
    CopyResult result = copy_disk(map, &target, copy, watched);
    watched.check();
    const Bytes extracted = extracted_bytes(map, extract);
    if (!result.damaged.empty()) {
        const FilePtr file = reopened(path, output.fd());
        return {file,
                redirect(with_damage(map, result.damaged), file, extract),
                extracted,
                false,
                std::move(result.damaged),
                std::move(notes)};
    }
    // The images may have changed while they were read.
    if (entry_name(map, extract, image_path) != name)
        throw Error(ErrorKind::busy, concat("'", image_path, "' was changed while it was read"));
    origin.content = std::move(result.content);
    write_origin(output.fd(), path, capacity, origin);
    with_context(where, [&] { output.publish(true); });
    FilePtr file = reopened(path, output.fd());
    return {file, redirect(map, file, extract), extracted, false, {}, std::move(notes)};
}

MaterialiseEstimate estimate_materialise(const BlockMap& map, Extract extract, const Cache& cache,
                                         const std::string& image_path) {
    const std::string name = entry_name(map, extract, image_path);
    SilentProgress progress;
    if (valid_entry(map, extract, cache.find(name, to_bytes(map.capacity())), progress))
        return {cache.path_of(name), Bytes(0), true};
    return {cache.path_of(name), extracted_bytes(map, extract), false};
}

}  // namespace vmdkdm
