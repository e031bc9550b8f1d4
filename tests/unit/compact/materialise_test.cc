#include "compact/materialise.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>

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
    Materialised materialise(Extract extract, bool allow_damaged = false) const {
        SilentProgress progress;
        return vmdkdm::materialise(map(), extract, cache(), path, allow_damaged, progress);
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

TEST_CASE("a damaged image is refused, or read with gaps and not kept") {
    const Disk disk;  // the third grain says that it is the first
    const Failure failure = failure_of([&] { disk.materialise(Extract::compressed); });
    CHECK(failure.kind == ErrorKind::format);
    CHECK(failure.text ==
          concat("the image is damaged: '", disk.path,
                 "': the compressed grain at byte 12288 is for sector 0 of the extent, expected ",
                 third_grain, " (see --allow-damaged)"));
    CHECK(disk.cache().entries().empty());

    const Materialised made = disk.materialise(Extract::compressed, true);
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
    CHECK(failure ==
          Failure{ErrorKind::system, concat("the cache (see --cache-dir): cannot make '", path, "' ",
                                            capacity.count(), " bytes long: File too large")});
    CHECK(std::distance(fs::directory_iterator(disk.cache().directory()), {}) == 0);
}

TEST_CASE("an entry that is a link is not followed") {
    Disk disk;
    disk.directory.write("disk.vmdk", Disk::content(third_grain));
    const Materialised made = disk.materialise(Extract::compressed);
    const std::string path = made.file->path();
    fs::rename(path, disk.directory.path("elsewhere"));
    fs::create_symlink(disk.directory.path("elsewhere"), path);
    CHECK(failure_of([&] { disk.materialise(Extract::compressed); }).text ==
          concat("cannot open '", path, "': Too many levels of symbolic links"));
}

}  // namespace
}  // namespace vmdkdm
