#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/unique_fd.h"
#include "embedded/receive_tree.h"
#include "embedded/send_tree.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

class Directory {
  public:
    Directory() {
        std::string name = fs::temp_directory_path() / "vmdkdm-test.XXXXXX";
        path_ = ::mkdtemp(name.data());
    }
    ~Directory() { fs::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    const fs::path& path() const { return path_; }

  private:
    fs::path path_;
};

FillFrom stream_of(const std::string& bytes) {
    return [&bytes, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
        const std::size_t got = std::min(size, bytes.size() - at);
        std::memcpy(buffer, bytes.data() + at, got);
        at += got;
        return got;
    };
}

struct Outcome {
    Received received;
    std::vector<std::string> told;
};

Outcome receive(const fs::path& into, const std::vector<TreeRecord>& records, bool replace = false) {
    std::string bytes;
    for (const TreeRecord& record : records) bytes += to_bytes(record);
    const UniqueFd directory(::open(into.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    Outcome outcome;
    outcome.received = receive_tree(stream_of(bytes), {directory.get(), "copy", "copy", replace},
                                    [&outcome](const std::string& text) { outcome.told.push_back(text); });
    return outcome;
}

// What becomes of a tree when so much and so many are allowed: the error, or "whole".
std::string bounded(const std::vector<TreeRecord>& records, std::uint64_t most_bytes,
                    std::uint64_t most_names) {
    const Directory to;
    std::string bytes;
    for (const TreeRecord& record : records) bytes += to_bytes(record);
    const UniqueFd directory(::open(to.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    try {
        receive_tree(stream_of(bytes), {directory.get(), "copy", "copy", false, most_bytes, most_names},
                     [](const std::string&) {});
    } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::refused);
        return error.what();
    }
    return "whole";
}

std::string content_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

TEST_CASE("a tree that is sent is received with its content, modes, times and links") {
    const Directory from;
    const Directory to;
    fs::create_directories(from.path() / "tree/below");
    write(from.path() / "tree/below/file", "content");
    fs::permissions(from.path() / "tree/below/file", fs::perms(06750));
    const timespec times[] = {{1, 2}, {981173106, 789}};
    ::utimensat(AT_FDCWD, (from.path() / "tree/below/file").c_str(), times, 0);
    fs::create_symlink("/etc/passwd", from.path() / "tree/link");
    ::mkfifo((from.path() / "tree/fifo").c_str(), 0600);

    const fs::path bytes = from.path() / "bytes";
    const UniqueFd out(::open(bytes.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    send_tree(from.path(), "/tree", out.get());
    const std::string stream = content_of(bytes);
    const UniqueFd directory(::open(to.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::vector<std::string> told;
    const Received received = receive_tree(stream_of(stream), {directory.get(), "copy", "copy", false},
                                           [&told](const std::string& text) { told.push_back(text); });

    CHECK(received.files == 2);
    CHECK(received.failed == 0);
    CHECK(content_of(to.path() / "copy/below/file") == "content");
    struct stat facts = {};
    REQUIRE(::stat((to.path() / "copy/below/file").c_str(), &facts) == 0);
    CHECK((facts.st_mode & 07000) == 0);
    CHECK(facts.st_mtim.tv_sec == 981173106);
    CHECK(facts.st_mtim.tv_nsec == 789);
    CHECK(fs::read_symlink(to.path() / "copy/link") == "/etc/passwd");
    CHECK(told == std::vector<std::string>{"'copy/fifo': left out, as it is a FIFO"});
}

TEST_CASE("symbolic links on the way to what is sent never lead out of the file system") {
    const Directory from;
    fs::create_directories(from.path() / "root/real");
    write(from.path() / "outside", "secret");
    fs::create_symlink(from.path(), from.path() / "root/absolute");
    fs::create_symlink("../..", from.path() / "root/up");
    const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    CHECK_THROWS_AS(send_tree(from.path() / "root", "/absolute/outside", nowhere.get()), Error);
    CHECK_THROWS_AS(send_tree(from.path() / "root", "/up/outside", nowhere.get()), Error);
    CHECK_THROWS_AS(send_tree(from.path() / "root", "/../outside", nowhere.get()), Error);
}

const std::string too_much =
    "'copy': the copy would take more than 16.0 KiB (see --max-size); what has been copied stays";
const std::string too_many =
    "'copy': the copy would have more than 3 files and directories (see --max-files); what has been copied "
    "stays";
constexpr std::uint64_t no_bound = ~std::uint64_t{0};

TEST_CASE("a copy takes no more than it may, however it is written") {
    const auto file = [](std::vector<TreeRecord> content) {
        content.insert(content.begin(), FileBegin{"file", 0644, {}});
        content.insert(content.end(), {FileEnd{1 << 20}, TreeEnd{}});
        return content;
    };
    // The file itself is a block.
    CHECK(bounded(file({FileBytes{0, std::string(3 * 4096, 'x')}}), 16384, no_bound) == "whole");
    CHECK(bounded(file({FileBytes{0, std::string(3 * 4096 + 1, 'x')}}), 16384, no_bound) == too_much);
    CHECK(bounded(file({FileBytes{4095, std::string(2, 'x')}, FileBytes{100000, "x"}}), 16384, no_bound) ==
          "whole");
    CHECK(
        bounded(file({FileBytes{4095, std::string(2, 'x')}, FileBytes{100000, "x"}, FileBytes{200000, "x"}}),
                16384, no_bound) == too_much);
    std::vector<TreeRecord> bytewise;
    for (std::uint64_t i = 0; i < 3 * 4096; ++i) bytewise.push_back(FileBytes{i, "x"});
    CHECK(bounded(file(bytewise), 16384, no_bound) == "whole");
    // The same two places, again and again.
    std::vector<TreeRecord> again;
    for (int i = 0; i < 3; ++i) again.insert(again.end(), {FileBytes{0, "x"}, FileBytes{8192, "x"}});
    CHECK(bounded(file(again), 16384, no_bound) == too_much);
    CHECK(bounded(file({}), 4095, no_bound) ==
          "'copy': the copy would take more than 4.0 KiB (see --max-size); what has been copied stays");
}

TEST_CASE("nor has it more names, whatever they are of") {
    const auto tree = [](const TreeRecord& entry, int count) {
        std::vector<TreeRecord> records{EnterDirectory{"top", 0755, {}}};
        for (int i = 0; i < count; ++i) {
            records.push_back(entry);
            if (std::holds_alternative<EnterDirectory>(entry)) records.push_back(LeaveDirectory{});
            if (std::holds_alternative<FileBegin>(entry)) records.push_back(FileEnd{0});
        }
        records.insert(records.end(), {LeaveDirectory{}, TreeEnd{}});
        return records;
    };
    for (const TreeRecord& entry :
         {TreeRecord(EnterDirectory{"d", 0755, {}}), TreeRecord(FileBegin{"f", 0644, {}}),
          TreeRecord(SymbolicLink{"l", "x", {}}), TreeRecord(Special{"s", 'p'}),
          TreeRecord(UnreadableEntry{"u", 5})}) {
        CAPTURE(entry.index());
        CHECK(bounded(tree(entry, 2), no_bound, 3) == "whole");
        CHECK(bounded(tree(entry, 3), no_bound, 3) == too_many);
    }
    CHECK(bounded(tree(FileBegin{"f", 0644, {}}, 2), 8191, no_bound).find("--max-size") != std::string::npos);
}

TEST_CASE("messages stay short, however deep the tree is") {
    const Directory to;
    std::vector<TreeRecord> records(800, EnterDirectory{std::string(255, '\x01'), 0755, {}});
    records.push_back(Special{"fifo", 'p'});
    records.insert(records.end(), 800, LeaveDirectory{});
    records.push_back(TreeEnd{});
    const Outcome outcome = receive(to.path(), records);
    REQUIRE(outcome.told.size() == 1);
    CHECK(outcome.told[0].starts_with("'copy/\x01\x01"));
    CHECK(outcome.told[0].ends_with("/fifo': left out, as it is a FIFO"));
    CHECK(outcome.told[0].size() < 4000);
}

TEST_CASE("content without a byte would be a stream without an end") {
    const Directory to;
    CHECK_THROWS_AS(receive(to.path(), {FileBegin{"file", 0644, {}}, FileBytes{0, ""}}), Error);
}

TEST_CASE("a name that is a path is refused") {
    for (const std::string& name :
         {std::string("../x"), std::string(".."), std::string("."), std::string("/etc"), std::string("a/b"),
          std::string(), std::string("a\0b", 3), std::string(256, 'a')}) {
        const Directory to;
        CHECK_THROWS_AS(receive(to.path(), {EnterDirectory{"d", 0755, {}}, FileBegin{name, 0644, {}}}),
                        Error);
        CHECK_THROWS_AS(receive(to.path(), {EnterDirectory{"e", 0755, {}}, SymbolicLink{name, "x", {}}}),
                        Error);
    }
}

TEST_CASE("nothing is written through a symbolic link, whoever made it") {
    const Directory to;
    const Directory outside;
    write(outside.path() / "file", "mine");
    for (const bool replace : {false, true}) {
        const Outcome outcome =
            receive(to.path(),
                    {EnterDirectory{"copy", 0755, {}}, SymbolicLink{"link", outside.path(), {}},
                     EnterDirectory{"link", 0755, {}}, FileBegin{"file", 0644, {}}, FileBytes{0, "theirs"},
                     FileEnd{6}, LeaveDirectory{}, LeaveDirectory{}, TreeEnd{}},
                    replace);
        CHECK(content_of(outside.path() / "file") == "mine");
        CHECK(outcome.received.existing + outcome.received.failed > 0);
    }
    fs::create_symlink(outside.path() / "file", to.path() / "copy/target");
    receive(to.path(),
            {EnterDirectory{"copy", 0755, {}}, FileBegin{"target", 0644, {}}, FileBytes{0, "theirs"},
             FileEnd{6}, LeaveDirectory{}, TreeEnd{}},
            true);
    CHECK(content_of(outside.path() / "file") == "mine");
    CHECK(content_of(to.path() / "copy/target") == "theirs");
    CHECK_FALSE(fs::is_symlink(to.path() / "copy/target"));
}

TEST_CASE("a file that is there is kept, and with --force replaced only by a whole one") {
    const Directory to;
    write(to.path() / "copy", "mine");
    Outcome outcome =
        receive(to.path(), {FileBegin{"x", 0644, {}}, FileBytes{0, "theirs"}, FileEnd{6}, TreeEnd{}});
    CHECK(outcome.received.existing == 1);
    CHECK(outcome.told == std::vector<std::string>{"'copy': is there already (see --force)"});
    outcome =
        receive(to.path(), {FileBegin{"x", 0644, {}}, FileBytes{0, "the"}, FileFailed{EIO}, TreeEnd{}}, true);
    CHECK(outcome.received.failed == 1);
    CHECK(outcome.told == std::vector<std::string>{"'copy': cannot be read to its end: Input/output error"});
    CHECK(content_of(to.path() / "copy") == "mine");
    receive(to.path(), {FileBegin{"x", 0644, {}}, FileBytes{3, "end"}, FileEnd{8}, TreeEnd{}}, true);
    CHECK(content_of(to.path() / "copy") == std::string("\0\0\0end\0\0", 8));
    CHECK(std::distance(fs::directory_iterator(to.path()), {}) == 1);
}

TEST_CASE("a stream that ends early, or is none, leaves no file behind that is not whole") {
    for (const std::vector<TreeRecord>& records : std::vector<std::vector<TreeRecord>>{
             {FileBegin{"x", 0644, {}}, FileBytes{0, "the"}},
             {FileBegin{"x", 0644, {}}, FileBegin{"y", 0644, {}}},
             {FileBegin{"x", 0644, {}}, FileBytes{std::uint64_t{1} << 63, "the"}},
             {FileBegin{"x", 0644, {}}, TreeEnd{}},
             {FileBegin{"x", 0644, {}}, FileEnd{~std::uint64_t{0}}},
             {LeaveDirectory{}},
             {FileEnd{0}}}) {
        const Directory to;
        CHECK_THROWS_AS(receive(to.path(), records), Error);
        CHECK(fs::is_empty(to.path()));
    }
}

TEST_CASE("a second tree, and one without end, are refused") {
    const Directory to;
    CHECK_THROWS_AS(receive(to.path(), {SymbolicLink{"a", "x", {}}, SymbolicLink{"b", "x", {}}, TreeEnd{}}),
                    Error);
    CHECK_THROWS_AS(
        receive(to.path(), std::vector<TreeRecord>(deepest_tree + 2, EnterDirectory{"d", 0755, {}}), true),
        Error);
}

TEST_CASE("what the caller could not read or remove is made so that he can") {
    const Directory to;
    receive(to.path(),
            {EnterDirectory{"d", 0, {}}, FileBegin{"file", 0, {}}, FileEnd{0}, LeaveDirectory{}, TreeEnd{}});
    struct stat facts = {};
    REQUIRE(::stat((to.path() / "copy").c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0700);
    REQUIRE(::stat((to.path() / "copy/file").c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0400);
}

}  // namespace
}  // namespace vmdkdm
