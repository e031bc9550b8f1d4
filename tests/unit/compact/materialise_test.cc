#include "compact/materialise.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/concat.h"
#include "files/local_file.h"
#include "map/read.h"
#include "support/failure.h"
#include "support/grains.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::compressed_grain;
using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using test::numbered;
using test::TempDir;

std::string read_all(const BlockMap& map) {
    std::string text(static_cast<std::size_t>(to_bytes(map.capacity()).count()), '?');
    read_disk(map, Bytes(0), std::as_writable_bytes(std::span(text)));
    return text;
}

// Stored, compressed, zero, compressed, zero (long), compressed, unreadable.
struct Disk {
    TempDir directory;
    std::string path;

    Disk() : path(directory.write("disk.vmdk", content(0))) {}

    static std::string content(std::uint64_t third) {
        std::string bytes = numbered(0, 8, "plain");
        for (const std::uint64_t sector : {std::uint64_t{0}, std::uint64_t{16}, third}) {
            std::string grain = compressed_grain(sector, numbered(sector, 8));
            grain.resize(4096);
            bytes += grain;
        }
        return bytes;
    }
    BlockMap map() const {
        BlockMap::Builder builder;
        const FileIndex file =
            builder.add_file(open_local_file(path), 0, GrainLayout{Sectors(8), Sectors(10000), Sectors(8)});
        builder.append(Sectors(8), Stored{file, Sectors(0)});
        builder.append(Sectors(8), Compressed{file, 0, Sectors(8)});
        builder.append(Sectors(8), Zero{});
        builder.append(Sectors(8), Compressed{file, 0, Sectors(16)});
        builder.append(Sectors(4000), Zero{});
        builder.append(Sectors(8), Compressed{file, 0, Sectors(24)});
        return std::move(builder).build();
    }
    Cache cache() const { return Cache(directory.path("cache")); }
    Materialised materialise(Extract extract, const MaterialiseOptions& options = {}) const {
        SilentProgress progress;
        return vmdkdm::materialise(map(), extract, cache(), path, options, progress);
    }
};

constexpr std::uint64_t third_grain = 4024;

TEST_CASE("short zeros between compressed runs are read from the file, long ones are not") {
    MemoryFiles files;
    const Disk disk;
    const FilePtr file = files.add_hole("/cache/x", Bytes(1 << 22));
    CHECK(test::show(redirect(disk.map(), file, Extract::compressed)) ==
          concat("0+8 data ", disk.path,
                 "@0\n"
                 "8+24 data /cache/x@8\n"
                 "32+4000 zero\n"
                 "4032+8 data /cache/x@4032\n"));
    CHECK(test::show(redirect(disk.map(), file, Extract::everything)) == "0+4040 data /cache/x@0\n");
}

TEST_CASE("unreadable runs stay what they are") {
    MemoryFiles files;
    BlockMap::Builder builder;
    builder.append(Sectors(8), Zero{});
    builder.append(Sectors(8), Unreadable{2, builder.add_reason({Reason::Kind::damage, "broken"})});
    builder.append(Sectors(8), Zero{});
    CHECK(test::show(redirect(std::move(builder).build(), files.add_hole("/x", Bytes(1 << 20)),
                              Extract::everything)) ==
          "0+8 data /x@0\n8+8 unreadable depth 2: broken\n16+8 data /x@16\n");
}

TEST_CASE("the disk is read from the cache, made once") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    const std::string expected = numbered(0, 8, "plain") + numbered(0, 8) + std::string(4096, '\0') +
                                 numbered(16, 8) + std::string(4000 * 512, '\0') + numbered(third_grain, 8);
    const Extract extract = GENERATE(Extract::compressed, Extract::everything);
    const MaterialiseEstimate before = estimate_materialise(disk.map(), extract, disk.cache(), disk.path);
    CHECK(!before.cached);
    CHECK(before.bytes_to_write == Bytes((extract == Extract::compressed ? 24 : 32) * 512));

    const Materialised first = disk.materialise(extract);
    CHECK(!first.reused);
    CHECK(read_all(first.map) == expected);
    CHECK(first.file->path() == before.path);
    const Materialised second = disk.materialise(extract);
    CHECK(second.reused);
    CHECK(read_all(second.map) == expected);
    CHECK(second.file->identity() == first.file->identity());
    CHECK(estimate_materialise(disk.map(), extract, disk.cache(), disk.path).cached);

    const auto entries = disk.cache().entries();
    REQUIRE(entries.size() == 1);
    CHECK(entries[0].name.starts_with("disk."));
    CHECK(entries[0].name.size() == std::string("disk.").size() + 32 + std::string(".raw").size());
    CHECK(entries[0].capacity == Bytes(4040 * 512));
    CHECK(second.bytes_to_write == Bytes(0));
    CHECK(fs::status(disk.cache().directory()).permissions() == fs::perms::owner_all);
}

TEST_CASE("an image that was written since is made anew") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    disk.materialise(Extract::compressed);
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    CHECK(!disk.materialise(Extract::compressed).reused);
    CHECK(disk.cache().entries().size() == 2);
}

// A disk of one stored and two compressed grains on another file system that shows the same path, inode, size
// and layout; there are no times.
BlockMap disk_on(std::uint64_t device, const char* stored, const char* first, const char* second) {
    std::string content = numbered(0, 8, stored);
    for (const auto& [sector, text] : {std::pair(0, first), std::pair(8, second)}) {
        std::string grain = compressed_grain(static_cast<std::uint64_t>(sector),
                                             numbered(static_cast<std::uint64_t>(sector), 8, text));
        grain.resize(4096);
        content += grain;
    }
    BlockMap::Builder builder;
    const Bytes size(content.size());
    const FileIndex file =
        builder.add_file(std::make_shared<test::MemoryFile>("/stick/disk.vmdk", FileIdentity{device, 12},
                                                            std::move(content), size),
                         0, GrainLayout{Sectors(8), Sectors(16), Sectors(8)});
    builder.append(Sectors(8), Stored{file, Sectors(0)});
    builder.append(Sectors(8), Compressed{file, 0, Sectors(8)});
    builder.append(Sectors(8), Compressed{file, 0, Sectors(16)});
    return std::move(builder).build();
}

TEST_CASE("an image that has the metadata of another one never gets its bytes") {
    const TempDir directory;
    const Cache cache(directory.path("cache"));
    SilentProgress progress;
    const Extract extract = GENERATE(Extract::compressed, Extract::everything);
    const auto shown = [&](const BlockMap& map, bool reused) {
        CHECK(estimate_materialise(map, extract, cache, "/stick/disk.vmdk").cached == reused);
        const Materialised made = materialise(map, extract, cache, "/stick/disk.vmdk", {}, progress);
        CHECK(made.reused == reused);
        return read_all(made.map);
    };
    const std::string plain = numbered(0, 8, "plain");
    CHECK(shown(disk_on(1, "plain", "a", "b"), false) == plain + numbered(0, 8, "a") + numbered(8, 8, "b"));
    CHECK(shown(disk_on(1, "plain", "a", "b"), true) == plain + numbered(0, 8, "a") + numbered(8, 8, "b"));
    // The same file after a reboot, in which its device has got another number.
    CHECK(shown(disk_on(2, "plain", "a", "b"), true) == plain + numbered(0, 8, "a") + numbered(8, 8, "b"));
    CHECK(shown(disk_on(2, "plain", "a", "c"), false) == plain + numbered(0, 8, "a") + numbered(8, 8, "c"));
    CHECK(shown(disk_on(2, "plain", "d", "c"), false) == plain + numbered(0, 8, "d") + numbered(8, 8, "c"));
    // What is read where it lies has no part in what was inflated.
    CHECK(shown(disk_on(2, "other", "d", "c"), extract == Extract::compressed) ==
          numbered(0, 8, "other") + numbered(0, 8, "d") + numbered(8, 8, "c"));
    CHECK(cache.entries().size() == 1);
}

TEST_CASE("an entry that was changed is not noticed, except where it is made anew") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    const std::string path = disk.materialise(Extract::compressed).file->path();
    const auto first_byte = [](const Materialised& made) { return read_all(made.map).at(8 * 512); };
    const char right = first_byte(disk.materialise(Extract::compressed));
    {
        std::fstream entry(path, std::ios::in | std::ios::out | std::ios::binary);
        entry.seekp(8 * 512);
        entry.put(static_cast<char>(right ^ 1));
    }
    const Materialised believed = disk.materialise(Extract::compressed);
    CHECK(believed.reused);
    CHECK(first_byte(believed) != right);
    const Materialised anew = disk.materialise(Extract::compressed, {false, true});
    CHECK(!anew.reused);
    CHECK(first_byte(anew) == right);
    CHECK(first_byte(disk.materialise(Extract::compressed)) == right);
}

TEST_CASE("what somebody else may have put into the cache is not used, and is replaced") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    const std::string path = disk.materialise(Extract::compressed).file->path();
    const std::string elsewhere = disk.directory.path("elsewhere");
    std::string why;
    SECTION("a file of another user") {
        if (::geteuid() != 0) return;
        REQUIRE(::chown(path.c_str(), 65534, 65534) == 0);
        why = "belongs to user 65534";
    }
    SECTION("a file that others can write to") {
        const mode_t mode = GENERATE(0606U, 0660U);
        REQUIRE(::chmod(path.c_str(), mode) == 0);
        why = "can be written by other users";
    }
    SECTION("a file with another name") {
        fs::create_hard_link(path, elsewhere);
        why = "has another name elsewhere";
    }
    SECTION("a link") {
        fs::rename(path, elsewhere);
        fs::create_symlink(elsewhere, path);
        why = "is a symbolic link";
    }
    SECTION("a FIFO") {
        fs::remove(path);
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        why = "is not a regular file";
    }
    CHECK(!estimate_materialise(disk.map(), Extract::compressed, disk.cache(), disk.path).cached);
    const Materialised made = disk.materialise(Extract::compressed);
    CHECK(!made.reused);
    CHECK(made.notes ==
          std::vector<std::string>{concat("'", path, "' ", why, ": it is not used, and is replaced")});
    struct stat status = {};
    REQUIRE(::lstat(path.c_str(), &status) == 0);
    CHECK((status.st_mode == (S_IFREG | 0600) && status.st_uid == ::geteuid() && status.st_nlink == 1));
    CHECK(disk.materialise(Extract::compressed).reused);
}

TEST_CASE("an entry without its end is made anew") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    const std::string path = disk.materialise(Extract::compressed).file->path();
    const std::uintmax_t size = fs::file_size(path);
    SECTION("cut short") { fs::resize_file(path, size - entry_end_size.count()); }
    SECTION("nothing in it") {
        fs::resize_file(path, size - entry_end_size.count());
        fs::resize_file(path, size);
    }
    CHECK(!disk.materialise(Extract::compressed).reused);
    CHECK(disk.materialise(Extract::compressed).reused);
    CHECK(disk.cache().entries().size() == 1);
}

// Grains of 64 KiB that inflate to `size` bytes of `fill`, a thousandth of that in the file.
struct Bomb {
    static constexpr std::uint64_t grains = 64;
    TempDir directory;
    std::string path;

    explicit Bomb(char fill) : path(directory.write("disk.vmdk", content(fill))) {}

    static std::string content(char fill) {
        std::string bytes;
        for (std::uint64_t i = 0; i < grains; ++i) {
            std::string grain = compressed_grain(i * 128, std::string(65536, fill));
            grain.resize(512);
            bytes += grain;
        }
        return bytes;
    }
    BlockMap map() const {
        BlockMap::Builder builder;
        const FileIndex file = builder.add_file(open_local_file(path), 0,
                                                GrainLayout{Sectors(0), Sectors(128 * grains), Sectors(128)});
        for (std::uint64_t i = 0; i < grains; ++i)
            builder.append(Sectors(128), Compressed{file, 0, Sectors(i)});
        return std::move(builder).build();
    }
    Materialised materialise(std::optional<Bytes> limit) const {
        SilentProgress progress;
        return vmdkdm::materialise(map(), Extract::compressed, Cache(directory.path("cache"), limit), path,
                                   {}, progress);
    }
};

TEST_CASE("zeros that are stored as grains take no room in the cache, whatever the limit") {
    const Bomb zeros('\0');
    const Materialised made = zeros.materialise(Bytes(8192));
    struct stat status = {};
    REQUIRE(::fstat(made.file->fd(), &status) == 0);
    CHECK(status.st_blocks * 512 <= 8192);
    CHECK(read_all(made.map) == std::string(Bomb::grains * 65536, '\0'));
}

TEST_CASE("a disk that takes more than the cache may is refused, and leaves nothing") {
    const Bomb bomb('x');
    // And what the file system may need to keep it.
    constexpr std::uint64_t whole = Bomb::grains * 65536 + 4096 + 65536;
    const std::string cache = bomb.directory.path("cache");
    CHECK(failure_of([&] { bomb.materialise(Bytes(1 << 20)); }) ==
          Failure{ErrorKind::refused,
                  concat("the disk takes more than the 1048576 bytes that the cache '", cache,
                         "' has room for: its limit is 1048576 bytes, and 0 are taken (see --cache-limit, "
                         "--cache-dir and vmdk-dm cache --clear)")});
    CHECK(std::distance(fs::directory_iterator(cache), {}) == 0);

    CHECK(!bomb.materialise(Bytes(whole)).reused);
    CHECK(bomb.materialise(Bytes(0)).reused);
    // It makes room for itself, and for nothing else.
    const auto taken = [&] { return Cache(cache, Bytes(whole)).room_for("another").taken; };
    CHECK(taken() >= Bytes(Bomb::grains * 65536));
    CHECK(Cache(cache, Bytes(whole)).room_for("another").left() + taken() == Bytes(whole));
    CHECK(Cache(cache, Bytes(1)).room_for("another").left() == Bytes(0));
    const std::string name = Cache(cache).entries().at(0).name;
    CHECK(Cache(cache, Bytes(whole)).room_for(name).left() == Bytes(whole));
}

TEST_CASE("without a limit the cache may take a quarter of what is free") {
    const Bomb bomb('x');
    bomb.materialise(std::nullopt);
    const Cache cache(bomb.directory.path("cache"));
    const Cache::Room room = cache.room_for("another");
    struct statvfs status = {};
    REQUIRE(::statvfs(cache.directory().c_str(), &status) == 0);
    const std::uint64_t expected = (status.f_bavail * status.f_frsize + room.taken.count()) / 4;
    CHECK(!room.by_user);
    // Others write there too.
    CHECK(room.limit.count() > expected / 2);
    CHECK(room.limit.count() < expected * 2);
}

TEST_CASE("a damaged image is refused, or read with gaps and not kept") {
    const Disk disk;  // the third grain says that it is the first
    const Failure failure = failure_of([&] { disk.materialise(Extract::compressed); });
    CHECK(failure.kind == ErrorKind::format);
    CHECK(failure.text ==
          concat("the image is damaged: '", disk.path,
                 "': the compressed grain at byte 12288 is for sector 0 of the extent, expected ",
                 third_grain, " (see --allow-damaged)"));
    CHECK(disk.cache().entries().empty());

    const Materialised made = disk.materialise(Extract::compressed, {true});
    CHECK(made.damaged.size() == 1);
    CHECK(disk.cache().entries().empty());
    CHECK(std::distance(fs::directory_iterator(disk.cache().directory()), {}) == 0);
    CHECK(std::holds_alternative<Unreadable>(made.map[made.map.size() - 1].content));
    std::string bytes(8 * 512, '?');
    made.file->read_at(Bytes(8 * 512), std::as_writable_bytes(std::span(bytes)));
    CHECK(bytes == numbered(0, 8));
}

TEST_CASE("a cache that others can write to is refused") {
    const Disk disk;
    fs::create_directory(disk.cache().directory());
    ::chmod(disk.cache().directory().c_str(), 0770);
    const Failure expected{ErrorKind::refused, concat("the cache '", disk.cache().directory(),
                                                      "' can be written by other users (see --cache-dir)")};
    CHECK(failure_of([&] { disk.cache().prepare(); }) == expected);
    CHECK(failure_of([&] { disk.cache().entries(); }) == expected);
    CHECK(failure_of([&] { disk.materialise(Extract::compressed); }) == expected);
}

// As where the file system has no room.
class NoFileGrows {
  public:
    NoFileGrows() {
        std::signal(SIGXFSZ, SIG_IGN);
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit none{0, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &none);
    }
    ~NoFileGrows() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, SIG_DFL);
    }
    NoFileGrows(const NoFileGrows&) = delete;
    NoFileGrows& operator=(const NoFileGrows&) = delete;

  private:
    rlimit before_{};
};

TEST_CASE("a cache that cannot be written is refused with the option that names another") {
    const Disk disk;
    const Bytes capacity = to_bytes(disk.map().capacity());
    const std::string path =
        estimate_materialise(disk.map(), Extract::compressed, disk.cache(), disk.path).path;
    Failure failure;
    {
        const NoFileGrows full;
        failure = failure_of([&] { disk.materialise(Extract::compressed); });
    }
    CHECK(failure == Failure{ErrorKind::system,
                             concat("the cache (see --cache-dir): cannot make '", path, "' ",
                                    (capacity + entry_end_size).count(), " bytes long: File too large")});
    CHECK(std::distance(fs::directory_iterator(disk.cache().directory()), {}) == 0);
}

}  // namespace
}  // namespace vmdkdm
