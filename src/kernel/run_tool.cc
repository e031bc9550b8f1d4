#include "kernel/run_tool.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "base/close_on_exec.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

using Clock = std::chrono::steady_clock;

// What a program says of an image may be as long as the image's maker wants.
constexpr std::size_t max_output = 64 << 20;

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

Pipe make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw system_error("pipe", errno);
    return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<std::string> environment_of(const ToolCall& call) {
    const char* path = std::getenv("PATH");
    std::vector<std::string> variables{
        concat("PATH=", path == nullptr ? "/usr/bin:/bin" : path, ":/usr/local/sbin:/usr/sbin:/sbin"),
        "LC_ALL=C"};
    for (const auto& [name, value] : call.environment) variables.push_back(concat(name, "=", value));
    return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
}

// execvpe() looks in our PATH and not in the one that the program gets; these few directories come behind it.
void exec(const std::vector<char*>& words, const std::vector<char*>& environment) {
    ::execvpe(words[0], words.data(), environment.data());
    for (const char* directory : {"/usr/local/sbin/", "/usr/sbin/", "/sbin/"})
        if (errno == ENOENT)
            ::execve((std::string(directory) + words[0]).c_str(), words.data(), environment.data());
}

// A mount namespace of its own, in which an empty tmpfs covers the directory. False with errno.
bool hide_directory(const std::string& directory, const std::string& file) {
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return false;
    if (::unshare(CLONE_NEWNS) != 0) return false;
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
    if (::mount("tmpfs", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0)
        return false;
    return UniqueFd(::open((directory + "/" + file).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)).get() >=
           0;
}

// In the child: never returns. An exec that fails sends its errno.
[[noreturn]] void become(const ToolCall& call, const std::vector<char*>& words,
                         const std::vector<char*>& environment, const Pipe& output, const Pipe& errors,
                         const Pipe& failure) {
    ::setsid();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(output.write.get(), STDOUT_FILENO);
    ::dup2(errors.write.get(), STDERR_FILENO);
    close_on_exec_from(STDERR_FILENO + 1);
    if (call.private_directory.empty() || hide_directory(call.private_directory, call.private_file))
        exec(words, environment);
    const int error = errno;
    [[maybe_unused]] const ssize_t sent = ::write(failure.write.get(), &error, sizeof error);
    ::_exit(127);
}

// Appends what there is; false at the end of the stream.
bool read_some(const UniqueFd& from, std::string& text) {
    char buffer[65536];
    const ssize_t got = ::read(from.get(), buffer, sizeof buffer);
    if (got < 0) return errno == EINTR || errno == EAGAIN;
    text.append(buffer, static_cast<std::size_t>(got));
    return got > 0;
}

// False when the time is up, or when it is too much.
bool read_both(Pipe& output, std::string& out, Pipe& errors, std::string& err, Clock::time_point deadline) {
    while (output.read || errors.read) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0 || out.size() > max_output || err.size() > max_output) return false;
        pollfd streams[] = {{output.read.get(), POLLIN, 0}, {errors.read.get(), POLLIN, 0}};
        if (::poll(streams, 2, static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
        if (streams[0].revents != 0 && !read_some(output.read, out)) output.read.reset();
        if (streams[1].revents != 0 && !read_some(errors.read, err)) errors.read.reset();
    }
    return true;
}

// It leads a session, and so a group; or is about to.
void kill_with_children(pid_t child) {
    ::kill(-child, SIGKILL);
    ::kill(child, SIGKILL);
}

int wait_for(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

// The program's words on one line.
std::string words_of(const std::string& errors) {
    std::string text;
    for (const char c : errors) {
        const bool blank = c == '\n' || c == ' ' || c == '\t';
        if (!blank) text += c;
        if (blank && !text.empty() && text.back() != ' ') text += c == '\n' ? "; " : " ";
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == ';')) text.pop_back();
    return text;
}

}  // namespace

std::string run_tool(const ToolCall& call) {
    const std::string& name = call.words.front();
    Pipe output = make_pipe();
    Pipe errors = make_pipe();
    Pipe failure = make_pipe();
    std::vector<std::string> words = call.words;
    std::vector<std::string> variables = environment_of(call);
    const std::vector<char*> word_pointers = pointers_to(words);
    const std::vector<char*> variable_pointers = pointers_to(variables);
    const pid_t child = ::fork();
    if (child < 0) throw system_error("fork", errno);
    if (child == 0) become(call, word_pointers, variable_pointers, output, errors, failure);
    for (Pipe* pipe : {&output, &errors, &failure}) pipe->write.reset();

    std::string out;
    std::string err;
    const bool ended =
        read_both(output, out, errors, err, Clock::now() + std::chrono::seconds(call.timeout_s));
    if (!ended) kill_with_children(child);
    const int status = wait_for(child);
    int exec_error = 0;
    if (::read(failure.read.get(), &exec_error, sizeof exec_error) == sizeof exec_error) {
        if (exec_error == ENOENT)
            throw Error(ErrorKind::not_found, concat("needs ", name, " (package ", call.package, ")"));
        throw system_error(concat("cannot run ", name), exec_error);
    }
    if (std::max(out.size(), err.size()) > max_output)
        throw Error(ErrorKind::system, concat(name, " says more than ", max_output >> 20, " MiB"));
    if (!ended) throw Error(ErrorKind::system, concat(name, " did not end within ", call.timeout_s, " s"));
    if (WIFSIGNALED(status))
        throw Error(ErrorKind::system, concat(name, " was killed by signal ", WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0) {
        const std::string why = words_of(err);
        throw Error(ErrorKind::system,
                    concat(name, " failed (status ", WEXITSTATUS(status), ")", why.empty() ? "" : ": ", why));
    }
    return out;
}

}  // namespace vmdkdm
