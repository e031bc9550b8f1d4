#include "compact/hash_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "compact/digest.h"
#include "files/local_file.h"
#include "support/failure.h"
#include "support/grains.h"
#include "support/memory_files.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using test::numbered;
using test::TempDir;

std::string sha256(const std::string& text) {
    Hasher hasher(HashAlgorithm::sha256);
    hasher.update(std::as_bytes(std::span(text)));
    return hasher.finish();
}

// Remembers what it was told; throws when it is to.
struct Told : Progress {
    std::vector<Bytes> done;
    Bytes total;
    bool stops = false;

    void update(Bytes now, Bytes all) override {
        if (stops) throw Error(ErrorKind::system, "interrupted");
        done.push_back(now);
        total = all;
    }
};

// A number that this process and its confined child both see.
class SharedNumber {
  public:
    SharedNumber()
        : number_(static_cast<std::atomic<int>*>(
              ::mmap(nullptr, sizeof *number_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
        REQUIRE(number_ != MAP_FAILED);
    }
    ~SharedNumber() { ::munmap(number_, sizeof *number_); }
    SharedNumber(const SharedNumber&) = delete;
    SharedNumber& operator=(const SharedNumber&) = delete;
    std::atomic<int>& operator*() const { return *number_; }

  private:
    std::atomic<int>* number_;
};

// A file whose every read fails, or does something to it first.
class DisturbedFile : public File {
  public:
    DisturbedFile(FilePtr file, std::function<void()> disturb)
        : file_(std::move(file)), disturb_(std::move(disturb)) {}
    const std::string& path() const override { return file_->path(); }
    FileKind kind() const override { return file_->kind(); }
    FileIdentity identity() const override { return file_->identity(); }
    Bytes size() const override { return file_->size(); }
    int fd() const override { return file_->fd(); }
    void read_at(Bytes offset, std::span<std::byte> out) const override {
        disturb_();
        file_->read_at(offset, out);
    }

  private:
    FilePtr file_;
    std::function<void()> disturb_;
};

TEST_CASE("every file gets its own hash, whatever the order in which they are taken") {
    MemoryFiles memory;
    std::vector<FilePtr> files;
    std::vector<std::string> contents;
    for (const std::size_t size : {0UL, 1UL, 5000UL, 262144UL, 262145UL, 3000000UL, 77UL}) {
        contents.push_back(numbered(size, size / 512 + 1).substr(0, size));
        files.push_back(memory.add("/file" + std::to_string(size), contents.back()));
    }
    Told progress;
    const FileHashes hashes = hash_files(files, nullptr, progress);
    REQUIRE(hashes.files.size() == files.size());
    Bytes total;
    for (std::size_t i = 0; i < files.size(); ++i) {
        CHECK(hashes.files[i].sha256 == sha256(contents[i]));
        CHECK_FALSE(hashes.files[i].error);
        total += files[i]->size();
    }
    CHECK_FALSE(hashes.disk);
    CHECK(progress.total == total);
    CHECK(progress.done.back() == total);
}

TEST_CASE("no files at all are hashed too") {
    Told progress;
    CHECK(hash_files({}, nullptr, progress).files.empty());
}

TEST_CASE("the disk is hashed with its zeros, and what cannot be read counts as zeros") {
    MemoryFiles memory;
    const FilePtr file = memory.add("/flat", numbered(0, 10));
    BlockMap::Builder builder;
    const FileIndex index = builder.add_file(file, 0);
    builder.append(Sectors(4), Stored{index, Sectors(2)});
    builder.append(Sectors(3), Zero{});
    builder.append(Sectors(2), Unreadable{builder.add_reason({Reason::Kind::intended, "NOACCESS"})});
    const BlockMap map = std::move(builder).build();
    SilentProgress progress;
    const FileHashes hashes = hash_files({file}, &map, progress);
    REQUIRE(hashes.disk);
    CHECK(hashes.disk->sha256 == sha256(numbered(2, 4) + std::string(5 * 512, '\0')));
    CHECK(hashes.disk->unreadable == Bytes(1024));
    CHECK(hashes.files[0].sha256 == sha256(numbered(0, 10)));
}

TEST_CASE("a disk that is one of the files from end to end is not read a second time") {
    MemoryFiles memory;
    const SharedNumber reads;
    const FilePtr other = memory.add("/other", numbered(5, 3));
    const FilePtr file =
        std::make_shared<DisturbedFile>(memory.add("/flat", numbered(0, 10)), [&] { ++*reads; });
    const std::uint64_t from = GENERATE(0U, 1U);
    BlockMap::Builder builder;
    builder.append(Sectors(10 - from), Stored{builder.add_file(file, 0), Sectors(from)});
    const BlockMap map = std::move(builder).build();
    SilentProgress progress;
    const FileHashes hashes = hash_files({other, file}, &map, progress);
    REQUIRE(hashes.disk);
    CHECK(hashes.disk->sha256 == sha256(numbered(from, 10 - from)));
    CHECK(*reads == (from == 0 ? 1 : 2));
}

TEST_CASE("a file that cannot be read keeps no other from being hashed") {
    MemoryFiles memory;
    const FilePtr bad = std::make_shared<DisturbedFile>(memory.add("/bad", numbered(0, 10)), [] {
        throw Error(ErrorKind::system, "cannot read '/bad' at byte 0: Input/output error");
    });
    const FilePtr good = memory.add("/good", numbered(0, 3));
    BlockMap::Builder builder;
    builder.append(Sectors(5), Stored{builder.add_file(bad, 0), Sectors(1)});
    const BlockMap map = std::move(builder).build();
    SilentProgress progress;
    const FileHashes hashes = hash_files({bad, good}, &map, progress);
    REQUIRE(hashes.files[0].error);
    CHECK(std::string(hashes.files[0].error->what()) == "cannot read '/bad' at byte 0: Input/output error");
    CHECK(hashes.files[0].sha256.empty());
    CHECK(hashes.files[1].sha256 == sha256(numbered(0, 3)));
    REQUIRE(hashes.disk);
    CHECK(hashes.disk->error);
}

TEST_CASE("a file that is written while it is hashed has no hash") {
    const TempDir directory;
    const std::string path = directory.path("flat");
    std::ofstream(path) << numbered(0, 10);
    const FilePtr file = open_local_file(path);
    const struct timespec then[2] = {{1000, 0}, {1000, 5}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), then, 0) == 0);
    SilentProgress progress;

    const FileHashes quiet = hash_files({file}, nullptr, progress);
    CHECK(quiet.files[0].sha256 == sha256(numbered(0, 10)));
    REQUIRE(quiet.files[0].modified);
    CHECK(quiet.files[0].modified->tv_sec == 1000);
    CHECK(quiet.files[0].modified->tv_nsec == 5);

    // The child, which can open nothing, has it written to by this process.
    enum Turn { nobodys, writers, readers };
    const SharedNumber turn;
    std::thread writer([&] {
        while (*turn != writers) std::this_thread::yield();
        std::ofstream(path, std::ios::in | std::ios::out) << "x";
        *turn = readers;
    });
    const FilePtr written = std::make_shared<DisturbedFile>(file, [&turn] {
        *turn = writers;
        while (*turn != readers) std::this_thread::yield();
    });
    const FileHashes hashes = hash_files({written}, nullptr, progress);
    writer.join();
    REQUIRE(hashes.files[0].error);
    CHECK(hashes.files[0].error->kind() == ErrorKind::busy);
    CHECK(hashes.files[0].error->what() == "'" + path + "' was written while it was read");
    CHECK(hashes.files[0].sha256.empty());
}

TEST_CASE("an interruption stops every thread, and is what the caller gets") {
    MemoryFiles memory;
    std::vector<FilePtr> files;
    for (int i = 0; i < 3; ++i)
        files.push_back(memory.add_hole("/hole" + std::to_string(i), Bytes(std::uint64_t{1} << 45)));
    BlockMap::Builder builder;
    builder.append(Sectors(std::uint64_t{1} << 30), Zero{});
    const BlockMap map = std::move(builder).build();
    Told progress;
    progress.stops = true;
    CHECK(failure_of([&] { hash_files(files, &map, progress); }) ==
          Failure{ErrorKind::system, "interrupted"});
}

}  // namespace
}  // namespace vmdkdm
