#include "compact/materialise.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "compact/damage.h"
#include "compact/digest.h"
#include "compact/output_file.h"
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

// Everything that the bytes of an entry depend on. Not the number of the device that a file is on: it changes
// from boot to boot.
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
                         const std::string& image_path, bool allow_damaged, Progress& progress) {
    const Bytes capacity = to_bytes(map.capacity());
    const std::string name = entry_name(map, extract, image_path);
    if (FilePtr file = cache.find(name, capacity)) return {file, redirect(map, file, extract), true, {}};

    cache.prepare();
    const std::string path = cache.path_of(name);
    constexpr std::string_view where = "the cache (see --cache-dir)";
    OutputFile output =
        with_context(where, [&] { return OutputFile(path, capacity, true, S_IRUSR | S_IWUSR); });
    CopyOptions options;
    options.extract = extract;
    options.allow_damaged = allow_damaged;
    options.pass_over_unreadable = true;
    const CopyTarget target{output.fd(), path, false, " (see --cache-dir)"};
    CopyResult result = copy_disk(map, &target, options, progress);
    if (!result.damaged.empty()) {
        const FilePtr file = reopened(path, output.fd());
        return {file, redirect(with_damage(map, result.damaged), file, extract), false,
                std::move(result.damaged)};
    }
    // The images may have changed while they were read.
    if (entry_name(map, extract, image_path) != name)
        throw Error(ErrorKind::busy, concat("'", image_path, "' was changed while it was read"));
    // Another process may have been faster; a disk may lie on its file already.
    if (FilePtr file = cache.find(name, capacity)) return {file, redirect(map, file, extract), true, {}};
    with_context(where, [&] { output.publish(true); });
    FilePtr file = reopened(path, output.fd());
    return {file, redirect(map, file, extract), false, {}};
}

MaterialiseEstimate estimate_materialise(const BlockMap& map, Extract extract, const Cache& cache,
                                         const std::string& image_path) {
    const std::string name = entry_name(map, extract, image_path);
    struct stat status = {};
    const std::string path = cache.path_of(name);
    if (::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
        static_cast<std::uint64_t>(status.st_size) == to_bytes(map.capacity()).count())
        return {path, Bytes(0), true};
    Bytes bytes;
    for (const Run& run : map)
        if (is_extracted(run.content, extract)) bytes += to_bytes(run.length);
    return {path, bytes, false};
}

}  // namespace vmdkdm
