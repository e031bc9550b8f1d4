// Names that change while they are looked up: what is opened is the good file or nothing.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <thread>

#include "base/error.h"
#include "files/confined_opener.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

// Exchanges two names as fast as it can for as long as it lives.
class Swapper {
  public:
    Swapper(std::string one, std::string other)
        : thread_([this, one = std::move(one), other = std::move(other)] {
              while (!stop_)
                  if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) != 0)
                      failed_ = true;
          }) {}
    ~Swapper() {
        stop_ = true;
        thread_.join();
        CHECK_FALSE(failed_);
    }
    Swapper(const Swapper&) = delete;
    Swapper& operator=(const Swapper&) = delete;

  private:
    std::atomic<bool> stop_{false};
    std::atomic<bool> failed_{false};
    std::thread thread_;
};

struct Place : TempDir {
    Place() {
        write("vm/disk.vmdk", "good");
        write("vm/data", "good");
        write("vm/sub/data", "good");
        write("out/disk.vmdk", "evil");
        write("out/data", "evil");
        fs::create_symlink("../out/data", path("vm/link"));
        fs::create_symlink("../out", path("vm/sublink"));
        fs::create_symlink("out", path("elsewhere"));
    }
};

std::string content_of(const File& file) {
    std::string text(static_cast<std::size_t>(file.size().count()), '\0');
    file.read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
    return text;
}

// How often an opening gave the good file, and how often it was refused.
struct Outcomes {
    int good = 0;
    int refused = 0;
    int bad = 0;
};

// `open` again and again until both outcomes were seen often, but at least 3,000 times.
Outcomes try_often(const std::function<std::string()>& open) {
    Outcomes outcomes;
    for (int i = 0; i < 200'000; ++i) {
        if (i >= 3'000 && outcomes.good > 100 && outcomes.refused > 100) break;
        try {
            ++(open() == "good" ? outcomes.good : outcomes.bad);
        } catch (const Error&) {
            ++outcomes.refused;
        }
    }
    return outcomes;
}

void check_never_bad(const Outcomes& outcomes) {
    CHECK(outcomes.bad == 0);
    CHECK(outcomes.good > 100);
    CHECK(outcomes.refused > 100);
}

TEST_CASE("a file that becomes a symlink while it is opened never leads outside") {
    const Place place;
    const Swapper swapper(place.path("vm/data"), place.path("vm/link"));
    check_never_bad(try_often([&] {
        ConfinedOpener opener({});
        return content_of(*opener.open_beside(*opener.open_image(place.path("vm/disk.vmdk")), "data"));
    }));
}

TEST_CASE("a directory that becomes a symlink while a file in it is opened never leads outside") {
    const Place place;
    const Swapper swapper(place.path("vm/sub"), place.path("vm/sublink"));
    check_never_bad(try_often([&] {
        ConfinedOpener opener({});
        return content_of(*opener.open_beside(*opener.open_image(place.path("vm/disk.vmdk")), "sub/data"));
    }));
}

// The image's own directory is where the user's path leads; its files come out of the directory that it came
// out of, wherever the path leads a moment later.
TEST_CASE("the files of an image lie where the image was found") {
    const Place place;
    const Swapper swapper(place.path("vm"), place.path("elsewhere"));
    int mixed = 0, good = 0, evil = 0;
    for (int i = 0; i < 200'000 && (i < 3'000 || good < 100 || evil < 100); ++i) {
        try {
            ConfinedOpener opener({});
            const FilePtr image = opener.open_image(place.path("vm/disk.vmdk"));
            const std::string told = content_of(*image);
            for (int again = 0; again < 3; ++again)
                if (content_of(*opener.open_beside(*image, "data")) != told) ++mixed;
            ++(told == "good" ? good : evil);
        } catch (const Error&) {
            // The path led nowhere for a moment.
        }
    }
    CHECK(mixed == 0);
    CHECK(good >= 100);
    CHECK(evil >= 100);
}

TEST_CASE("a file is what was checked, whatever has its name now") {
    const Place place;
    place.write("vm/other", "an other file, and longer");
    const Swapper swapper(place.path("vm/data"), place.path("vm/other"));
    for (int i = 0; i < 3'000; ++i) {
        ConfinedOpener opener({});
        const FilePtr file = opener.open_beside(*opener.open_image(place.path("vm/disk.vmdk")), "data");
        struct stat status = {};
        REQUIRE(::fstat(file->fd(), &status) == 0);
        CHECK(file->identity() == FileIdentity{status.st_dev, status.st_ino});
        CHECK(file->size() == Bytes(static_cast<std::uint64_t>(status.st_size)));
        CHECK((content_of(*file) == "good" || content_of(*file) == "an other file, and longer"));
    }
}

// A FIFO that takes the place of a file would hold whoever opens it for reading.
TEST_CASE("a file that becomes a FIFO is never opened") {
    const Place place;
    REQUIRE(::mkfifo(place.path("vm/fifo").c_str(), 0600) == 0);
    const Swapper swapper(place.path("vm/data"), place.path("vm/fifo"));
    check_never_bad(try_often([&] {
        ConfinedOpener opener({});
        return content_of(*opener.open_beside(*opener.open_image(place.path("vm/disk.vmdk")), "data"));
    }));
}

}  // namespace
}  // namespace vmdkdm
