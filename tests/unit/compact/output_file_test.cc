#include "compact/output_file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "base/concat.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::Failure;
using test::failure_of;
using test::TempDir;

std::size_t files_in(const TempDir& directory) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory.path()), {}));
}

TEST_CASE("a file has its name when it is whole, and not before") {
    const TempDir directory;
    OutputFile output(directory.path("out"), Bytes(1000), false, 0600);
    CHECK(!fs::exists(directory.path("out")));
    output.publish(true);
    CHECK(fs::file_size(directory.path("out")) == 1000);
    CHECK(files_in(directory) == 1);
}

TEST_CASE("nothing is left of a file that was not finished") {
    const TempDir directory;
    { const OutputFile output(directory.path("out"), Bytes(1000), false, 0600); }
    CHECK(files_in(directory) == 0);
}

TEST_CASE("a file that exists is replaced only when told to, and only as a whole") {
    const TempDir directory;
    const std::string path = directory.write("out", "old");
    CHECK(failure_of([&] { OutputFile(path, Bytes(10), false, 0600); }) ==
          Failure{ErrorKind::busy, concat("'", path, "' exists (see --force)")});
    OutputFile output(path, Bytes(10), true, 0600);
    CHECK(fs::file_size(path) == 3);
    output.publish(true);
    CHECK(fs::file_size(path) == 10);
    CHECK(files_in(directory) == 1);
}

TEST_CASE("a file that appears meanwhile is not replaced") {
    const TempDir directory;
    OutputFile output(directory.path("out"), Bytes(10), false, 0600);
    const std::string path = directory.write("out", "somebody else's");
    CHECK(failure_of([&] { output.publish(true); }) ==
          Failure{ErrorKind::busy, concat("'", path, "' exists (see --force)")});
    CHECK(fs::file_size(path) == 15);
}

TEST_CASE("what is no regular file is never replaced") {
    const TempDir directory;
    CHECK(failure_of([&] { OutputFile(directory.path(), Bytes(10), true, 0600); }) ==
          Failure{ErrorKind::refused, concat("'", directory.path(), "' is not a regular file")});
    CHECK(failure_of([&] { OutputFile("/dev/null", Bytes(10), true, 0600); }) ==
          Failure{ErrorKind::refused, "'/dev/null' is not a regular file"});
}

TEST_CASE("a link to a file stays a link") {
    const TempDir directory;
    const std::string path = directory.write("real", "old");
    fs::create_symlink("real", directory.path("link"));
    OutputFile output(directory.path("link"), Bytes(10), true, 0600);
    output.publish(false);
    CHECK(fs::is_symlink(directory.path("link")));
    CHECK(fs::file_size(path) == 10);
}

TEST_CASE("a directory that is not there is named") {
    CHECK(failure_of([] { OutputFile("/nonexistent/out", Bytes(10), false, 0600); }) ==
          Failure{ErrorKind::not_found, "cannot create a file in '/nonexistent': No such file or directory"});
}

TEST_CASE("temporary files of processes that are gone are removed, and no others") {
    const TempDir directory;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    directory.write(concat(".out", temporary_mark, child, ".0"), "");
    directory.write(concat(".out", temporary_mark, ::getpid(), ".0"), "");
    directory.write(concat(".out", temporary_mark, "x"), "");
    directory.write("out.raw", "");
    remove_stale_temporaries(directory.path());
    CHECK(files_in(directory) == 3);
    CHECK(!fs::exists(directory.path(concat(".out", temporary_mark, child, ".0"))));
}

}  // namespace
}  // namespace vmdkdm
