#include "attach/guard_process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <set>

#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::string_view all_is_well("\0", 1);

void send_to(const UniqueFd& other, std::string_view text) {
    // A socket and not a pipe, so that a child that was killed costs us an error and not a SIGPIPE.
    ::send(other.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

// Until the other end closes.
std::string read_all(const UniqueFd& other) {
    std::string text;
    std::array<char, 4096> part;
    for (;;) {
        const ssize_t got = ::read(other.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return text;
        text.append(part.data(), static_cast<std::size_t>(got));
    }
}

// Our ends of all guards. A later guard's child has them too, and must close them: an earlier guard would
// wait for its end, and not for ours only.
std::set<int>& our_ends() {
    static std::set<int> ends;
    return ends;
}

}  // namespace

GuardProcess::GuardProcess(const std::function<void(const std::string& told)>& clean_up) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw system_error("socketpair", errno);
    UniqueFd to_parent(ends[0]);
    to_child_.reset(ends[1]);
    child_ = ::fork();
    if (child_ < 0) throw system_error("fork", errno);
    if (child_ > 0) {
        our_ends().insert(to_child_.get());
        // Until the child has a session of its own, a signal to our process group would take both. Its end of
        // the socket is closed here first, so that the read ends should the child have died.
        to_parent.reset();
        char ready = 0;
        while (::read(to_child_.get(), &ready, 1) < 0 && errno == EINTR) continue;
        return;
    }

    // A session of its own: a signal to our process group does not reach it. Nor does it keep anybody's pipe
    // open.
    ::setsid();
    to_child_.reset();
    for (const int end : our_ends()) ::close(end);
    const UniqueFd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere.get(), standard);
    send_to(to_parent, "r");
    try {
        if (const std::string told = read_all(to_parent); !told.ends_with(all_is_well)) clean_up(told);
    } catch (const std::exception&) {
        ::_exit(1);  // nobody is left to be told
    }
    ::_exit(0);
}

GuardProcess::~GuardProcess() {
    send_to(to_child_, all_is_well);
    our_ends().erase(to_child_.get());
    to_child_.reset();
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;
}

void GuardProcess::tell(std::string_view text) const { send_to(to_child_, text); }

}  // namespace vmdkdm
