#include "confine/confined_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "base/concat.h"
#include "base/descriptor_status.h"
#include "confine/shared_number.h"
#include "confine/walls.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::TempDir;

using Work = std::function<void(ParentLink&, Encoder&)>;

ConfinedTask task_of(Work work) {
    ConfinedTask task;
    task.worker = "the worker";
    task.work = std::move(work);
    return task;
}

// What a child hands back, as a number.
std::uint64_t number_from(const ConfinedTask& task) {
    return value_of_confined(task, [](Decoder& from) { return from.number(); });
}
std::uint64_t number_from(const Work& work) { return number_from(task_of(work)); }

Failure failure_from(const Work& work) {
    return failure_of([&] { number_from(work); });
}

Failure ended_by(int signal, const std::string& name) {
    return {ErrorKind::format, concat("it made the worker end with signal ", signal, " (", name,
                                      "): this is a bug in vmdk-dm; nothing was done")};
}
Failure stopped_by_filter() { return ended_by(SIGSYS, "a system call that it has no use for"); }

// Descriptors of this process, and its children.
std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
        count += !entry.path().empty();
    return count;
}
bool has_children() {
    siginfo_t info = {};
    return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

TEST_CASE("a child hands back a value") {
    CHECK(number_from([](ParentLink&, Encoder& value) { value.number(42); }) == 42);
}

// Numbers lie across the borders of pieces, and so does the text.
TEST_CASE("a large value comes whole") {
    const std::string text(100'000, 'x');
    const ConfinedTask task = task_of([&](ParentLink&, Encoder& to) {
        to.text("abc");
        for (std::uint64_t i = 0; i < 1'000'000; ++i) to.number(i);
        to.text(text);
    });
    run_confined(task, [&](Decoder& from) {
        CHECK(from.text(3) == "abc");
        for (std::uint64_t i = 0; i < 1'000'000; ++i)
            if (from.number() != i) FAIL("number " << i);
        CHECK(from.text(text.size()) == text);
    });
}

TEST_CASE("what was handed back is read while the child goes on, and no later than its error") {
    const ConfinedTask task = task_of([](ParentLink&, Encoder& to) {
        for (std::uint64_t i = 0; i < 100'000; ++i) to.number(i);
        to.flush();
        throw Error(ErrorKind::format, "then it was damaged");
    });
    std::uint64_t read = 0;
    CHECK(failure_of([&] {
              run_confined(task, [&](Decoder& from) {
                  for (;; ++read) from.number();
              });
          }) == Failure{ErrorKind::format, "then it was damaged"});
    CHECK(read == 100'000);
    CHECK_FALSE(has_children());
}

TEST_CASE("a child that has begun to answer has nothing more to ask") {
    ConfinedTask task = task_of([](ParentLink& parent, Encoder& to) {
        to.number(1);
        to.flush();
        parent.ask(Encoder());
    });
    bool asked = false;
    task.serve = [&](Decoder&) {
        asked = true;
        return Reply();
    };
    CHECK(failure_of([&] { number_from(task); }) ==
          Failure{ErrorKind::format,
                  "it made the worker answer what cannot be (it asked for something when it had begun to "
                  "answer): this is a bug in vmdk-dm; nothing was done"});
    CHECK_FALSE(asked);
}

TEST_CASE("an error of the work is thrown in the parent, and is of the same kind") {
    CHECK(failure_from([](ParentLink&, Encoder&) { throw Error(ErrorKind::not_found, "no such image"); }) ==
          Failure{ErrorKind::not_found, "no such image"});
    CHECK(failure_from([](ParentLink&, Encoder&) { throw std::runtime_error("odd"); }) ==
          Failure{ErrorKind::system, "odd"});
    CHECK_THROWS_AS(number_from([](ParentLink&, Encoder&) { throw TextError("a:1:2: x\ny\n^"); }), TextError);
    CHECK_THROWS_AS(number_from([](ParentLink&, Encoder&) { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST_CASE("an error has no lines of its own but a line of a text and a caret, and no endless text") {
    try {
        number_from([](ParentLink&, Encoder&) { throw Error(ErrorKind::format, "\033[2J\nvmdk-dm: sound"); });
    } catch (const Error& error) {
        CHECK(error.what() == std::string("\033[2J\nvmdk-dm: sound"));
        CHECK_FALSE(error.has_lines());
    }
    CHECK(failure_from([](ParentLink&, Encoder&) {
              throw TextError("a\nb\n^\nvmdk-dm: sound");
          }).text.find("an error has more lines than a message, a line and a caret") != std::string::npos);
    CHECK(failure_from([](ParentLink&, Encoder&) {
              throw Error(ErrorKind::format, std::string(1 << 20, 'x'));
          }).text.size() == 32 << 10);
}

TEST_CASE("nothing is left of a child, however it ended") {
    const std::size_t before = open_descriptors();
    number_from([](ParentLink&, Encoder& value) { value.number(1); });
    failure_from([](ParentLink&, Encoder&) { throw Error(ErrorKind::format, "x"); });
    failure_from([](ParentLink&, Encoder&) { ::_exit(3); });
    CHECK(open_descriptors() == before);
    CHECK_FALSE(has_children());
}

TEST_CASE("a child that dies is an error that says how") {
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(failure_from([](ParentLink&, Encoder&) { *static_cast<volatile int*>(nullptr) = 1; }) ==
          ended_by(SIGSEGV, "Segmentation fault"));
    CHECK(failure_from([](ParentLink&, Encoder&) { std::abort(); }) == ended_by(SIGABRT, "Aborted"));
#endif
    CHECK(failure_from([](ParentLink&, Encoder&) { ::_exit(3); }) ==
          Failure{ErrorKind::system, "the worker ended without an answer (status 3)"});
}

TEST_CASE("a child that closes the channel and goes on is ended") {
    const auto start = std::chrono::steady_clock::now();
    CHECK(failure_from([](ParentLink&, Encoder&) {
              for (int fd = 3; fd < 100; ++fd) ::close(fd);
              for (;;) ::sched_yield();
          }).kind == ErrorKind::system);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("a child can open nothing, whatever it tries") {
    const TempDir directory;
    const std::string path = directory.write("secret", "secret");
    CHECK(number_from([&](ParentLink&, Encoder& value) {
              value.number(::open(path.c_str(), O_RDONLY) < 0 ? static_cast<std::uint64_t>(errno) : 0);
          }) == EACCES);
    CHECK(number_from([&](ParentLink&, Encoder& value) {
              value.number(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), nullptr, 0) < 0
                               ? static_cast<std::uint64_t>(errno)
                               : 0);
          }) == EACCES);
    CHECK(failure_from([](ParentLink&, Encoder&) {
              ::syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, O_RDONLY);
          }) == stopped_by_filter());
}

TEST_CASE("a child can ask about what is open, and about no path") {
    const TempDir directory;
    const std::string path = directory.write("file", "content");
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ConfinedTask task = task_of([&](ParentLink&, Encoder& value) {
        struct stat status = {};
        value.number(
            status_of_descriptor(file.get(), status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0);
#if defined(SYS_newfstatat)
        constexpr int empty_path = 0x1000;
        value.number(::syscall(SYS_newfstatat, AT_FDCWD, path.c_str(), &status, empty_path) == 0);
        value.number(::syscall(SYS_newfstatat, AT_FDCWD, "/", &status, empty_path) == 0);
#else
        value.number(0);
        value.number(0);
#endif
    });
    task.keep = {file.get()};
    value_of_confined(task, [](Decoder& from) {
        CHECK(from.number() == 7);
        CHECK(from.number() == 0);
        CHECK(from.number() == 0);
        return true;
    });
    CHECK(failure_from([&](ParentLink&, Encoder&) {
              ::syscall(SYS_statx, AT_FDCWD, path.c_str(), 0, 0, nullptr);
          }) == stopped_by_filter());
}

TEST_CASE("a child that makes a forbidden call is ended") {
    const std::map<std::string, std::function<void()>> calls = {
        {"socket", [] { ::socket(AF_INET, SOCK_STREAM, 0); }},
        {"connect", [] { ::connect(0, nullptr, 0); }},
        {"execve", [] { ::execl("/bin/true", "true", nullptr); }},
        {"execveat", [] { ::syscall(SYS_execveat, 0, "", nullptr, nullptr, 0x1000); }},
        {"fork", [] { ::syscall(SYS_fork); }},
        {"clone", [] { ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
        {"kill", [] { ::kill(::getpid(), 0); }},
        {"kill the parent's thread", [] { ::syscall(SYS_tgkill, 1, 1, 0); }},
#if !defined(__SANITIZE_ADDRESS__)
        {"ptrace", [] { ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
#endif
        {"mmap of code", [] { ::syscall(SYS_mmap, 0, 4096, 7, 0x22, -1, 0); }},
        {"unlink", [] { ::unlink("/no/such/file"); }},
        {"mount", [] { ::syscall(SYS_mount, "a", "b", "c", 0, 0); }},
        {"setns", [] { ::syscall(SYS_setns, 0, 0); }},
        {"bpf", [] { ::syscall(SYS_bpf, 0, 0, 0); }},
        {"io_uring_setup", [] { ::syscall(SYS_io_uring_setup, 1, nullptr); }},
        {"process_vm_writev", [] { ::syscall(SYS_process_vm_writev, 1, 0, 0, 0, 0, 0); }},
        {"pwrite", [] { ::syscall(SYS_pwrite64, 0, "x", 1, 0); }},
        {"a call that there is not", [] { ::syscall(5000); }},
    };
    for (const auto& [name, call] : calls) {
        CAPTURE(name);
        const std::function<void()>& made = call;
        CHECK(failure_from([&made](ParentLink&, Encoder&) { made(); }) == stopped_by_filter());
    }
}

// From a file of /proc/PID of a child that waits.
std::string line_of(const std::string& text, const std::string& name) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(name + ":")) return line.substr(line.find_first_not_of(" \t", name.size() + 1));
    return "(none)";
}

TEST_CASE("from outside it can be seen that a child has no powers") {
    std::string status;
    std::vector<std::string> descriptors;
    std::size_t names_in_root = 0;
    const UniqueFd secret(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    ConfinedTask task = task_of([](ParentLink& parent, Encoder& value) {
        Encoder request;
        request.number(static_cast<std::uint64_t>(::getpid()));
        parent.ask(request);
        value.number(1);
    });
    task.serve = [&](Decoder& request) {
        const std::string process = concat("/proc/", request.number());
        std::stringstream text;
        text << std::ifstream(process + "/status").rdbuf();
        status = text.str();
        std::error_code ignored;
        for (const auto& entry : std::filesystem::directory_iterator(process + "/fd", ignored))
            descriptors.push_back(std::filesystem::read_symlink(entry.path(), ignored).string());
        for (const auto& entry : std::filesystem::directory_iterator(process + "/root/", ignored))
            names_in_root += !entry.path().empty();
        return Reply();
    };
    number_from(task);
    CHECK(line_of(status, "Seccomp") == "2");
    CHECK(line_of(status, "NoNewPrivs") == "1");
    for (const char* const set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
        CHECK(line_of(status, set) == "0000000000000000");
    if (::geteuid() == 0) {
        CHECK(line_of(status, "CapBnd") == "0000000000000000");
        CHECK(names_in_root == 0);
        // Standard streams and the channel.
        CHECK(descriptors.size() == 4);
        CHECK(std::count_if(descriptors.begin(), descriptors.end(),
                            [](const std::string& target) { return target.starts_with("socket:"); }) == 1);
    }
}

TEST_CASE("a child may have threads, and no processes") {
    ConfinedTask task = task_of([](ParentLink&, Encoder& value) {
        std::uint64_t sum = 0;
        std::thread thread([&sum] { sum = 7; });
        thread.join();
        value.number(sum);
    });
    task.powers.threads = true;
    CHECK(number_from(task) == 7);
    task.work = [](ParentLink&, Encoder&) { ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); };
    CHECK(failure_of([&] { number_from(task); }) == stopped_by_filter());
}

TEST_CASE("a child may write to the descriptors it was given, and to no others") {
    const TempDir directory;
    const std::string path = directory.write("out", "....");
    const std::string other = directory.write("other", "....");
    const UniqueFd out(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd not_given(::open(other.c_str(), O_RDWR | O_CLOEXEC));
    ConfinedTask task = task_of([&](ParentLink&, Encoder& value) {
        value.number(::pwrite(out.get(), "abcd", 4, 0) == 4);
        value.number(::pwrite(not_given.get(), "abcd", 4, 0) < 0 ? static_cast<std::uint64_t>(errno) : 0);
    });
    task.powers.output = true;
    task.budget.file_bytes = 4;
    task.keep = {out.get(), -1};
    value_of_confined(task, [](Decoder& from) {
        CHECK(from.number() == 1);
        CHECK(from.number() == EBADF);
        return true;
    });
    std::string text;
    std::ifstream(path) >> text;
    CHECK(text == "abcd");
}

TEST_CASE("a file that a child writes does not grow beyond the budget") {
    const TempDir directory;
    const std::string path = directory.write("out", "....");
    const UniqueFd out(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    ConfinedTask task = task_of([&](ParentLink&, Encoder& value) {
        const std::string text(100, 'x');
        value.number(static_cast<std::uint64_t>(::pwrite(out.get(), text.data(), text.size(), 0)));
        value.number(::pwrite(out.get(), "x", 1, 1 << 20) < 0 ? static_cast<std::uint64_t>(errno) : 0);
    });
    task.powers.output = true;
    task.budget.file_bytes = 10;
    task.keep = {out.get()};
    value_of_confined(task, [](Decoder& from) {
        CHECK(from.number() == 10);
        CHECK(from.number() == EFBIG);
        return true;
    });
    CHECK(std::filesystem::file_size(path) == 10);
    task.budget.file_bytes = 0;
    value_of_confined(task, [](Decoder& from) {
        CHECK(from.number() == static_cast<std::uint64_t>(-1));
        CHECK(from.number() == EFBIG);
        return true;
    });
}

TEST_CASE("a child computes no longer than its budget") {
    ConfinedTask task = task_of([](ParentLink&, Encoder&) {
        for (;;) ::sched_yield();
    });
    task.budget.processor_seconds = 1;
    CHECK(failure_of([&] { number_from(task); }) ==
          Failure{ErrorKind::format,
                  "it made the worker compute for longer than any image takes; nothing was done"});
}

#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("a child takes no more memory than its budget") {
    ConfinedTask task = task_of([](ParentLink&, Encoder& value) {
        const std::vector<char> much(64 << 20);
        value.number(much.size());
    });
    CHECK(number_from(task) == 64 << 20);
    task.budget.memory = 32 << 20;
    CHECK_THROWS_AS(number_from(task), std::bad_alloc);
}
#endif

TEST_CASE("memory that a process shares with those that it forks is not a confined child's") {
    const SharedNumber shared;
    *shared = 7;
    const pid_t guard = ::fork();
    if (guard == 0) {
        *shared = 8;
        ::_exit(0);
    }
    ::waitpid(guard, nullptr, 0);
    CHECK(*shared == 8);
    const Failure failure = failure_from([&](ParentLink&, Encoder& value) {
        *static_cast<volatile std::uint32_t*>(shared.get()) = 9;
        value.number(1);
    });
    CHECK(failure.kind != ErrorKind::usage);
    CHECK(*shared == 8);
}

// What `wall` leaves of the file system to a process of the same rights: names that can be opened or made.
std::string reachable_behind(const std::function<bool()>& wall) {
    const TempDir directory;
    const std::string path = directory.write("file", "content");
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd from(ends[0]);
    UniqueFd to(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        std::string found = ::chdir(directory.path().c_str()) == 0 ? "" : "no directory ";
        if (!wall()) found += "no wall";
        for (const char* const name :
             {path.c_str(), "./file", "/proc/self/status", "../../../../../../etc/passwd"})
            if (::open(name, O_RDONLY) >= 0) found += std::string(name) + " ";
        if (::open((path + "2").c_str(), O_WRONLY | O_CREAT, 0600) >= 0) found += "new ";
        if (::open("new", O_WRONLY | O_CREAT, 0600) >= 0) found += "new in the directory ";
        if (::unlink(path.c_str()) == 0) found += "unlink ";
        ::write(to.get(), found.data(), found.size());
        ::_exit(0);
    }
    to.reset();
    ::waitpid(child, nullptr, 0);
    char text[1000];
    const ssize_t got = ::read(from.get(), text, sizeof text);
    return {text, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

TEST_CASE("behind an empty root there is no file") {
    const std::string reached = reachable_behind(enter_empty_root);
    if (reached.starts_with("no wall") && ::geteuid() != 0) return;  // no user namespaces
    CHECK(reached.empty());
}

TEST_CASE("behind Landlock there is no file") {
    const std::string reached = reachable_behind(close_file_system);
    if (reached.starts_with("no wall")) return;  // not in this kernel
    CHECK(reached.empty());
}

TEST_CASE("without a wall there is") {
    CHECK(reachable_behind([] { return true; })
              .ends_with(
                  "./file /proc/self/status ../../../../../../etc/passwd new new in the directory unlink "));
}

TEST_CASE("requests are answered with values, descriptors and errors") {
    const TempDir directory;
    const std::string path = directory.write("file", "content");
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    ConfinedTask task = task_of([](ParentLink& parent, Encoder& value) {
        Encoder request;
        request.number(1);
        Message reply = parent.ask(request);
        char text[8] = {};
        value.number(static_cast<std::uint64_t>(::read(reply.fd.get(), text, 7)));
        value.text(text);
        value.number(Decoder(reply.bytes).number());
        Encoder wrong;
        wrong.number(2);
        try {
            parent.ask(wrong);
        } catch (const Error& error) {
            value.text(error.what());
        }
    });
    task.serve = [&](Decoder& request) -> Reply {
        if (request.number() == 2) throw Error(ErrorKind::refused, "not that one");
        Reply reply;
        reply.value.number(99);
        reply.fd = file.get();
        return reply;
    };
    value_of_confined(task, [](Decoder& from) {
        CHECK(from.number() == 7);
        CHECK(from.text(100) == "content");
        CHECK(from.number() == 99);
        CHECK(from.text(100) == "not that one");
        return true;
    });
}

TEST_CASE("a child that asks where nobody answers, or too often, is ended") {
    const auto ask = [](ParentLink& parent, Encoder&) { parent.ask(Encoder()); };
    CHECK(failure_from(ask).text ==
          "it made the worker answer what cannot be (it asked for something): this is a bug in vmdk-dm; "
          "nothing was done");
    ConfinedTask task = task_of([](ParentLink& parent, Encoder&) {
        for (;;) parent.ask(Encoder());
    });
    int asked = 0;
    task.serve = [&](Decoder&) {
        ++asked;
        return Reply();
    };
    task.most_requests = 10;
    CHECK(failure_of([&] { number_from(task); }).text ==
          "it made the worker answer what cannot be (it asked more than 10 times): this is a bug in vmdk-dm; "
          "nothing was done");
    CHECK(asked == 10);
}

// Whatever stands on the channel that is no message.
TEST_CASE("garbage on the channel is refused") {
    for (const std::string& garbage :
         {std::string("x"), std::string(8, '\xff'), std::string(8, '\0'), std::string(60'000, '\0'),
          std::string("\x03\0\0\0\0\0\0\0more", 12), std::string("\x04\0\0\0\0\0\0\0", 8),
          std::string("\x05\0\0\0\0\0\0\0", 8)}) {
        CAPTURE(garbage.size());
        const Failure failure = failure_from([&garbage](ParentLink&, Encoder&) {
            for (int fd = 3; fd < 1024; ++fd) {
                struct iovec part = {const_cast<char*>(garbage.data()), garbage.size()};
                struct msghdr message = {};
                message.msg_iov = &part;
                message.msg_iovlen = 1;
                ::sendmsg(fd, &message, MSG_NOSIGNAL);
            }
            for (;;) ::sched_yield();
        });
        CHECK(failure.kind == ErrorKind::format);
        CHECK(failure.text.starts_with("it made the worker answer what cannot be ("));
    }
}

TEST_CASE("a descriptor that a child sends is not taken") {
    const std::size_t before = open_descriptors();
    std::size_t meanwhile = 0;
    ConfinedTask task = task_of([](ParentLink& parent, Encoder& value) {
        for (int fd = 3; fd < 1024; ++fd) {
            // A message of its own kind "progress", with standard input along.
            std::uint64_t numbers[3] = {2, 1, 2};
            struct iovec part = {numbers, sizeof numbers};
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
            struct msghdr message = {};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            cmsghdr* const header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int));
            ::sendmsg(fd, &message, MSG_NOSIGNAL);
        }
        parent.ask(Encoder());
        value.number(1);
    });
    task.serve = [&](Decoder&) {
        meanwhile = open_descriptors();
        return Reply();
    };
    number_from(task);
    CHECK(meanwhile <= before + 1);  // our end of the channel
}

TEST_CASE("what progress throws ends the child at once") {
    ConfinedTask task = task_of([](ParentLink& parent, Encoder&) {
        for (std::uint64_t done = 0;; ++done) {
            parent.tell_progress(done, 1'000'000'000);
            ::usleep(10'000);
        }
    });
    std::uint64_t seen = 0;
    task.progress = [&](std::uint64_t done, std::uint64_t) {
        seen = done;
        if (done >= 3) throw Error(ErrorKind::system, "interrupted");
    };
    CHECK(failure_of([&] { number_from(task); }) == Failure{ErrorKind::system, "interrupted"});
    CHECK(seen >= 3);
    CHECK_FALSE(has_children());
}

TEST_CASE("a child that says nothing does not keep progress from being asked") {
    ConfinedTask task = task_of([](ParentLink&, Encoder&) {
        for (;;) ::usleep(10'000);
    });
    int calls = 0;
    task.progress = [&](std::uint64_t, std::uint64_t) {
        if (++calls == 2) throw Error(ErrorKind::system, "interrupted");
    };
    CHECK(failure_of([&] { number_from(task); }) == Failure{ErrorKind::system, "interrupted"});
}

// Killing the one kills the other.
TEST_CASE("a child goes with its parent") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd out(ends[0]);
    UniqueFd in(ends[1]);
    const pid_t parent = ::fork();
    if (parent == 0) {
        ConfinedTask task = task_of([&](ParentLink&, Encoder&) {
            ::write(in.get(), "x", 1);
            for (;;) ::usleep(10'000);
        });
        task.keep = {in.get()};
        number_from(task);
        ::_exit(0);
    }
    in.reset();
    char byte = 0;
    REQUIRE(::read(out.get(), &byte, 1) == 1);
    ::kill(parent, SIGKILL);
    ::waitpid(parent, nullptr, 0);
    // The end of the pipe is the end of the last one that had it open.
    struct pollfd poll = {out.get(), POLLIN, 0};
    CHECK(::poll(&poll, 1, 20'000) == 1);
    CHECK(::read(out.get(), &byte, 1) == 0);
}

TEST_CASE("a value that is none is refused") {
    const ConfinedTask task = task_of([](ParentLink&, Encoder& to) { to.number(7); });
    const auto failure_when = [&](const std::function<void(Decoder&)>& decode) {
        return failure_of([&] { run_confined(task, decode); });
    };
    CHECK(failure_when([](Decoder& from) { from.number(6, "a count"); }) ==
          Failure{ErrorKind::format,
                  "it made the worker answer what cannot be (a count is 7, more than 6): this is a bug "
                  "in vmdk-dm; nothing was done"});
    CHECK(failure_when([](Decoder& from) {
              from.number();
              from.number();
          }).text ==
          "it made the worker answer what cannot be (it ends too early): this is a bug in vmdk-dm; nothing "
          "was done");
    CHECK(failure_when([](Decoder&) {}).text ==
          "it made the worker answer what cannot be (8 bytes too many): this is a bug in vmdk-dm; nothing "
          "was done");
    CHECK_FALSE(has_children());
}

TEST_CASE("no more of a value is waited for than it may have") {
    Encoder said;
    said.number(4);
    said.number(5);
    const auto pieces = [&] { return said.bytes(); };
    Decoder from(pieces, 40);
    CHECK(from.count(8, "a count") == 4);  // 8 bytes are there, and 24 may come
    CHECK_THROWS_WITH(from.count(8, "a count"), "a count is 5, more than 3");
    CHECK(from.number() == 4);
    CHECK(from.number() == 5);
    CHECK_THROWS_WITH(from.number(), "it has no end");
}

TEST_CASE("nothing is reserved for what is only said to come") {
    Encoder said;
    said.number(std::uint64_t{1} << 32);
    bool given = false;
    const auto pieces = [&] {
        return std::exchange(given, true) ? std::span<const std::byte>() : said.bytes();
    };
    Decoder from(pieces, std::uint64_t{1} << 40);
    CHECK_THROWS_WITH(from.text(std::size_t{1} << 33), "it ends too early");
    struct rusage used = {};
    ::getrusage(RUSAGE_SELF, &used);
    CHECK(used.ru_maxrss < 1 << 20);
}

TEST_CASE("a text or a count that is longer than what is there is refused") {
    Encoder said;
    said.number(1000);
    said.number(1);
    CHECK_THROWS_WITH(Decoder(said.bytes()).text(2000), "a text goes on behind the end");
    CHECK_THROWS_WITH(Decoder(said.bytes()).text(999), "the length of a text is 1000, more than 999");
    CHECK_THROWS_WITH(Decoder(said.bytes()).count(8, "a count"), "a count is 1000, more than 1");
    CHECK_THROWS_WITH(Decoder(said.bytes()).flag(), "a flag is 1000, more than 1");
}

}  // namespace
}  // namespace vmdkdm
