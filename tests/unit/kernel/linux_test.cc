// What of the Linux side works without root and without device-mapper: /proc, leases, signals.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>

#include "base/concat.h"
#include "base/unique_fd.h"
#include "files/confined_opener.h"
#include "kernel/linux_kernel.h"
#include "kernel/proc.h"
#include "kernel/signals.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::TempDir;

std::string first_writer(const std::string& path) {
    ConfinedOpener opener({});
    LinuxKernel kernel(UdevUse::off);
    const std::vector<Holder> writers = kernel.writers(*opener.open_image(path));
    return writers.empty() ? "" : writers.front().what;
}

// A process that has done `prepare` and waits to be killed.
class Child {
  public:
    template <class Prepare>
    explicit Child(Prepare&& prepare) {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        const UniqueFd read_end(ends[0]);
        UniqueFd write_end(ends[1]);
        pid_ = ::fork();
        REQUIRE(pid_ >= 0);
        if (pid_ == 0) {
            prepare();
            [[maybe_unused]] const ssize_t written = ::write(write_end.get(), "!", 1);
            for (;;) ::pause();
        }
        write_end.reset();
        char word = 0;
        REQUIRE(::read(read_end.get(), &word, 1) == 1);
    }
    ~Child() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    pid_t pid() const { return pid_; }

  private:
    pid_t pid_;
};

TEST_CASE("a file that nobody writes has no writers, though it is open for reading") {
    const TempDir directory;
    const std::string path = directory.write("data", "data");
    const Child reader([&] { ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    CHECK(first_writer(path).empty());
}

TEST_CASE("a process that has the file open for writing is named") {
    const TempDir directory;
    const std::string path = directory.write("data", "data");
    const Child writer([&] { ::open(path.c_str(), O_WRONLY | O_CLOEXEC); });
    CHECK(first_writer(path) == describe_process(concat(writer.pid())));
    CHECK(first_writer(path).starts_with(concat("process ", writer.pid(), " (")));
}

TEST_CASE("a process that has the file mapped for writing is named, though it closed it") {
    const TempDir directory;
    const std::string path = directory.write("data", std::string(4096, 'x'));
    const Child writer([&] {
        const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ::close(fd);
    });
    CHECK(first_writer(path) == describe_process(concat(writer.pid())));
}

// A file descriptor that is on its way through a socket: open, but in no process.
class InFlight {
  public:
    explicit InFlight(const UniqueFd& fd) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        sender_.reset(ends[0]);
        receiver_.reset(ends[1]);
        char word = '!';
        iovec data = {&word, 1};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        msghdr message = {};
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        const int number = fd.get();
        std::memcpy(CMSG_DATA(header), &number, sizeof number);
        REQUIRE(::sendmsg(sender_.get(), &message, 0) == 1);
    }

  private:
    UniqueFd sender_;
    UniqueFd receiver_;
};

TEST_CASE("a writer that cannot be seen is not overlooked") {
    const TempDir directory;
    const std::string path = directory.write("data", "data");
    const InFlight writer(UniqueFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC)));
    CHECK(first_writer(path) == "a process that cannot be named");
}

TEST_CASE("our own process is named like any other") {
    const TempDir directory;
    const std::string path = directory.write("data", "data");
    const UniqueFd own(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    CHECK(first_writer(path) == describe_process(concat(::getpid())));
}

TEST_CASE("the mounts of this process include the root") {
    bool has_root = false;
    for (const MountEntry& mount : mounts_of_process("self")) has_root = has_root || mount.mount_point == "/";
    CHECK(has_root);
    CHECK(mounts_of_process("0").empty());
    CHECK(processes_by_mount_namespace().front() == "self");
}

TEST_CASE("a signal waits while an attach works, and is seen") {
    CHECK_FALSE(interruption_pending());
    bool seen = false;
    {
        const SignalDelay delay;
        ::raise(SIGTERM);
        seen = interruption_pending();
        // Taken back, or it would end this program now.
        sigset_t terminate;
        ::sigemptyset(&terminate);
        ::sigaddset(&terminate, SIGTERM);
        int taken = 0;
        ::sigwait(&terminate, &taken);
    }
    CHECK(seen);
    CHECK_FALSE(interruption_pending());
}

TEST_CASE("a signal that came too late is forgotten") {
    {
        const SignalDelay delay;
        ::raise(SIGTERM);
        ::raise(SIGHUP);
        delay.discard();
        CHECK_FALSE(interruption_pending());
    }
    SUCCEED("this program is still there");
}

}  // namespace
}  // namespace vmdkdm
