#include "embedded/machine.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <memory>
#include <thread>

#include "base/close_on_exec.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "base/unique_fd.h"
#include "embedded/lines.h"
#include "embedded/own_cpu.h"
#include "embedded/terminal.h"

namespace vmdkdm {
namespace {

using Clock = std::chrono::steady_clock;

// Above the numbers that the kernel's process gets them as.
constexpr int first_free_fd = 16;
constexpr int pipe_size = 1 << 20;
constexpr std::size_t kept_log = 16384;

struct Pipe {
    UniqueFd read;
    UniqueFd write;
};

// User-Mode Linux makes its ends non-blocking, for all who share them; so each stream is a pipe of ours.
Pipe make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw system_error("pipe", errno);
    const UniqueFd low_read(ends[0]);
    const UniqueFd low_write(ends[1]);
    Pipe pipe{UniqueFd(::fcntl(low_read.get(), F_DUPFD_CLOEXEC, first_free_fd)),
              UniqueFd(::fcntl(low_write.get(), F_DUPFD_CLOEXEC, first_free_fd))};
    if (!pipe.read || !pipe.write) throw system_error("pipe", errno);
    ::fcntl(pipe.write.get(), F_SETPIPE_SZ, pipe_size);  // smaller, and slower, where that is forbidden
    return pipe;
}

// A socket for what goes in: when the kernel is gone, writing costs an error and not a SIGPIPE.
Pipe make_socket() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw system_error("socketpair", errno);
    const UniqueFd low_read(ends[0]);
    Pipe pipe{UniqueFd(::fcntl(low_read.get(), F_DUPFD_CLOEXEC, first_free_fd)), UniqueFd(ends[1])};
    if (!pipe.read) throw system_error("socketpair", errno);
    return pipe;
}

struct Pipes {
    Pipe input = make_socket();
    Pipe output = make_pipe();
    Pipe errors = make_pipe();
    Pipe words = make_pipe();
    Pipe log = make_pipe();
};

void write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno == EAGAIN) {  // somebody else made it non-blocking
            pollfd wait{descriptor, POLLOUT, 0};
            ::poll(&wait, 1, -1);
            continue;
        }
        if (written < 0) throw system_error("cannot write what the embedded kernel says", errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

// Those that would end us, but not those that whoever started us ignores; and the window's.
sigset_t awaited_signals() {
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGWINCH);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
        struct sigaction now = {};
        ::sigaction(number, nullptr, &now);
        if (now.sa_handler != SIG_IGN) ::sigaddset(&signals, number);
    }
    return signals;
}

// Signals are read from a descriptor while it lives.
class Signals {
  public:
    Signals() {
        const sigset_t signals = awaited_signals();
        ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
        descriptor_.reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!descriptor_) throw system_error("signalfd", errno);
    }
    ~Signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int descriptor() const { return descriptor_.get(); }
    const sigset_t& before() const { return before_; }
    int next() const {
        signalfd_siginfo info = {};
        return ::read(descriptor_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo)
                                                                            : 0;
    }

  private:
    UniqueFd descriptor_;
    sigset_t before_{};
};

std::vector<char*> pointers_to(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
}

std::vector<std::string> all_words(const Sandbox& sandbox) {
    std::vector<std::string> words{"bwrap"};
    for (std::string& word : bwrap_words(sandbox)) words.push_back(std::move(word));
    words.emplace_back("--");
    for (std::string& word : kernel_words(sandbox.memory)) words.push_back(std::move(word));
    return words;
}

// For an empty one: what the caller keeps in his is not for the sandbox. Kernels may have no keyrings at all.
void leave_session_keyring() {
    constexpr int join_session_keyring = 1;
    ::syscall(SYS_keyctl, join_session_keyring, nullptr);
}

// In the child: never returns.
[[noreturn]] void become_sandbox(const Sandbox& sandbox, const std::vector<char*>& words, const Pipes& pipes,
                                 const Signals& signals, const OwnCpu& cpu, pid_t parent) {
    // As long as bubblewrap does not see to that itself.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    cpu.enter();
    ::sigprocmask(SIG_SETMASK, &signals.before(), nullptr);
    ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    ::dup2(pipes.log.write.get(), kernel_log_fd);
    ::dup2(pipes.log.write.get(), STDERR_FILENO);
    ::dup2(pipes.output.write.get(), output_fd);
    ::dup2(pipes.errors.write.get(), errors_fd);
    ::dup2(pipes.words.write.get(), words_fd);
    ::dup2(pipes.input.read.get(), input_fd);
    close_on_exec_from(input_fd + 1);
    leave_session_keyring();
    for (const Visible& visible : sandbox.visible)
        if (visible.descriptor) ::fcntl(*visible.descriptor, F_SETFD, 0);
    ::fcntl(sandbox.program, F_SETFD, 0);
    ::fcntl(sandbox.job, F_SETFD, 0);
    if (sandbox.filter >= 0) ::fcntl(sandbox.filter, F_SETFD, 0);
    ::execvp(words[0], words.data());
    ::_exit(127);
}

// The process that holds all others: they die with it.
class SandboxProcess {
  public:
    SandboxProcess(const Sandbox& sandbox, const Pipes& pipes, const Signals& signals) {
        std::vector<std::string> words = all_words(sandbox);
        const std::vector<char*> pointers = pointers_to(words);
        const pid_t parent = ::getpid();
        process_ = ::fork();
        if (process_ < 0) throw system_error("fork", errno);
        if (process_ == 0) become_sandbox(sandbox, pointers, pipes, signals, cpu_, parent);
    }
    ~SandboxProcess() {
        kill();
        ::waitpid(process_, nullptr, 0);
    }
    SandboxProcess(const SandboxProcess&) = delete;
    SandboxProcess& operator=(const SandboxProcess&) = delete;
    void kill() const { ::kill(process_, SIGKILL); }

  private:
    OwnCpu cpu_;
    pid_t process_ = -1;
};

// Reads the output in a thread, whose end is told through a descriptor.
class OutputThread {
  public:
    OutputThread(const std::function<void(int)>& take, UniqueFd from)
        : ended_(::eventfd(0, EFD_CLOEXEC)), from_(std::move(from)), thread_([this, take] { run(take); }) {}
    ~OutputThread() {
        if (thread_.joinable()) thread_.join();
    }
    int ended() const { return ended_.get(); }
    void finish() {
        thread_.join();
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    void run(const std::function<void(int)>& take) {
        try {
            take(from_.get());
        } catch (...) {
            failure_ = std::current_exception();
        }
        from_.reset();
        ::eventfd_write(ended_.get(), 1);
    }

    UniqueFd ended_;
    UniqueFd from_;
    std::exception_ptr failure_;
    std::thread thread_;
};

// Everything but the output, until all streams have ended.
class Conversation {
  public:
    Conversation(const Machine& machine, Pipes& pipes, const Signals& signals, OutputThread& output,
                 const SandboxProcess& process)
        : machine_(machine), pipes_(pipes), signals_(signals), output_(output), process_(process) {
        if (machine.timeout) deadline_ = Clock::now() + *machine.timeout;
        input_open_ = machine.takes_input;
    }

    void run() {
        while (pipes_.words.read || pipes_.errors.read || pipes_.log.read || !output_ended_) {
            if (!step()) {
                time_is_up_ = true;
                return process_.kill();
            }
            if (signal_ != 0) return process_.kill();
        }
    }

    void restore_terminal() { terminal_.reset(); }
    int signal() const { return signal_; }
    bool time_is_up() const { return time_is_up_; }
    std::optional<int> status() const { return status_; }
    bool started() const { return ready_; }
    const std::string& log() const { return log_; }

  private:
    // False when the time is up.
    bool step() {
        const bool wants_input = input_open_ && ready_ && to_send_.empty();
        std::array<pollfd, 7> polls{{{signals_.descriptor(), POLLIN, 0},
                                     {output_ended_ ? -1 : output_.ended(), POLLIN, 0},
                                     {pipes_.words.read.get(), POLLIN, 0},
                                     {pipes_.errors.read.get(), POLLIN, 0},
                                     {pipes_.log.read.get(), POLLIN, 0},
                                     {wants_input ? STDIN_FILENO : -1, POLLIN, 0},
                                     {may_send() == 0 ? -1 : pipes_.input.write.get(), POLLOUT, 0}}};
        if (::poll(polls.data(), polls.size(), wait_ms()) < 0 && errno != EINTR)
            throw system_error("poll", errno);
        if (deadline_ && Clock::now() >= *deadline_) return false;
        if (polls[0].revents != 0) take_signal();
        // The status was said before the streams ended.
        if (polls[2].revents != 0) read_words();
        if (polls[1].revents != 0) output_ended();
        if (polls[3].revents != 0) read_errors();
        if (polls[4].revents != 0) read_log();
        if (polls[5].revents != 0) read_input();
        if (polls[6].revents != 0) send();
        return true;
    }

    int wait_ms() const {
        if (!deadline_) return -1;
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - Clock::now());
        return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 1'000'000));
    }

    void take_signal() {
        const int number = signals_.next();
        if (number == SIGWINCH) {
            if (terminal_) queue_window_size();
        } else if (number != 0) {
            signal_ = number;
        }
    }

    // Nobody reads any more, so nothing that comes would be of use.
    void output_ended() {
        output_ended_ = true;
        if (!status_) process_.kill();
    }

    // Empty at the end of the stream, which is closed then.
    static std::string read_some(UniqueFd& from) {
        std::array<char, 65536> buffer;
        const ssize_t got = ::read(from.get(), buffer.data(), buffer.size());
        if (got > 0) return {buffer.data(), static_cast<std::size_t>(got)};
        if (got == 0 || (errno != EINTR && errno != EAGAIN)) from.reset();
        return {};
    }

    // From a kernel that may have been taken over: nothing but a handful of words is understood.
    void read_words() {
        constexpr std::size_t longest_word = 64;
        words_ += read_some(pipes_.words.read);
        for (std::size_t end = words_.find('\n'); end != std::string::npos; end = words_.find('\n')) {
            understand(words_.substr(0, end));
            words_.erase(0, end + 1);
        }
        if (words_.size() > longest_word) words_.clear();
    }

    void understand(const std::string& word) {
        if (word == said_ready) {
            ready_ = true;
            if (!machine_.takes_input) to_send_ += frame(Frame::Kind::end_of_file);
        }
        if (word == said_running && machine_.terminal && !terminal_) {
            terminal_ = std::make_unique<RawTerminal>(STDIN_FILENO);
            queue_window_size();
        }
        if (const auto took = number_after(said_took, word)) on_the_way_ -= std::min(on_the_way_, *took);
        if (const auto status = number_after(said_status, word); status && !status_)
            status_ = static_cast<int>(*status & 0xff);
    }

    static std::optional<std::size_t> number_after(std::string_view beginning, std::string_view word) {
        if (!word.starts_with(beginning)) return std::nullopt;
        word.remove_prefix(beginning.size());
        std::size_t number = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
        if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
        return number;
    }

    void read_errors() {
        const std::string text = read_some(pipes_.errors.read);
        if (machine_.exact_errors)
            write_all(STDERR_FILENO, text);
        else
            write_all(STDERR_FILENO, pipes_.errors.read ? errors_.more(text) : errors_.rest());
    }

    void read_log() {
        const std::string text = read_some(pipes_.log.read);
        if (machine_.show_console)
            write_all(STDERR_FILENO, pipes_.log.read ? console_.more(text) : console_.rest());
        log_ += text;
        if (log_.size() > 2 * kept_log) log_.erase(0, log_.size() - kept_log);
    }

    void read_input() {
        std::array<char, largest_frame> buffer;
        const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
        if (got > 0)
            to_send_ += frame(Frame::Kind::data, {buffer.data(), static_cast<std::size_t>(got)});
        else
            to_send_ += frame(Frame::Kind::end_of_file);
        input_open_ = got > 0;
    }

    void queue_window_size() {
        if (const std::optional<WindowSize> size = window_size_of(STDIN_FILENO)) to_send_ += frame(*size);
    }

    std::size_t may_send() const {
        return std::min(to_send_.size(), input_window - std::min(input_window, on_the_way_));
    }

    void send() {
        const ssize_t sent =
            ::send(pipes_.input.write.get(), to_send_.data(), may_send(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            to_send_.erase(0, static_cast<std::size_t>(sent));
            on_the_way_ += static_cast<std::size_t>(sent);
        }
        if (sent >= 0 || errno == EAGAIN || errno == EINTR) return;
        to_send_.clear();  // nobody reads any more
        input_open_ = false;
    }

    const Machine& machine_;
    Pipes& pipes_;
    const Signals& signals_;
    OutputThread& output_;
    const SandboxProcess& process_;
    std::optional<Clock::time_point> deadline_;
    std::unique_ptr<RawTerminal> terminal_;
    LineEscaper errors_;
    LineEscaper console_;
    std::string words_;
    std::string log_;
    std::string to_send_;
    std::size_t on_the_way_ = 0;
    bool input_open_ = false;
    bool output_ended_ = false;
    bool ready_ = false;
    bool time_is_up_ = false;
    int signal_ = 0;
    std::optional<int> status_;
};

bool is_program(const std::string& name) {
    const char* const path = std::getenv("PATH");
    std::string_view left = path == nullptr ? "/usr/bin:/bin" : path;
    while (!left.empty()) {
        const std::string_view directory = left.substr(0, left.find(':'));
        if (::access(concat(directory, "/", name).c_str(), X_OK) == 0) return true;
        left.remove_prefix(std::min(left.size(), directory.size() + 1));
    }
    return false;
}

void check_installed() {
    if (!is_program("bwrap"))
        throw Error(ErrorKind::not_found, "needs bwrap, which makes the sandbox (package bubblewrap)");
    if (::access("/usr/bin/linux.uml", X_OK) != 0)
        throw Error(ErrorKind::not_found,
                    "needs /usr/bin/linux.uml, the embedded kernel (package user-mode-linux)");
}

// Up to a panic: what follows that is for the kernel's developers.
std::vector<std::string> last_lines(std::string_view text, std::size_t count) {
    if (const std::size_t panic = text.find("Kernel panic"); panic != std::string_view::npos)
        text = text.substr(0, text.find('\n', panic));
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(std::min(count, lines.size())));
    return lines;
}

// Bubblewrap's words come first in the log, as the kernel never started.
[[noreturn]] void say_why(const Conversation& talk) {
    const std::string log = escaped_lines(talk.log());
    if (log.starts_with("bwrap: ")) {
        const std::string words = log.substr(0, log.find('\n'));
        throw Error(
            ErrorKind::system, concat("the sandbox cannot be made: ", words),
            {"It needs user namespaces, which a system may forbid to users: see 'sysctl "
             "user.max_user_namespaces kernel.unprivileged_userns_clone "
             "kernel.apparmor_restrict_unprivileged_userns', and in a container its seccomp profile"});
    }
    std::vector<std::string> lines = last_lines(log, 12);
    lines.emplace_back("(--console shows all, --mem gives it more memory)");
    throw Error(ErrorKind::system,
                "the embedded kernel stopped before its work was done; its last messages:", lines);
}

[[noreturn]] void die_of(int signal, const Signals& signals) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    ::pthread_sigmask(SIG_SETMASK, &signals.before(), nullptr);
    ::_exit(128 + signal);
}

}  // namespace

void copy_to_standard_output(int descriptor, bool exact) {
    std::vector<char> buffer(1 << 18);
    LineEscaper escaper;
    for (;;) {
        const ssize_t got = ::read(descriptor, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        const std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
        if (exact)
            write_all(STDOUT_FILENO, piece);
        else
            write_all(STDOUT_FILENO, escaper.more(piece));
    }
    write_all(STDOUT_FILENO, escaper.rest());
}

int run_machine(const Machine& machine) {
    check_installed();
    const Signals signals;
    Pipes pipes;
    const SandboxProcess process(machine.sandbox, pipes, signals);
    pipes.input.read.reset();
    for (Pipe* pipe : {&pipes.output, &pipes.errors, &pipes.words, &pipes.log}) pipe->write.reset();
    OutputThread output(machine.take_output, std::move(pipes.output.read));
    Conversation talk(machine, pipes, signals, output, process);
    try {
        talk.run();
    } catch (...) {
        process.kill();
        throw;
    }
    talk.restore_terminal();
    if (talk.signal() != 0) {
        output.finish();
        die_of(talk.signal(), signals);
    }
    output.finish();
    if (talk.time_is_up()) return status_time_is_up;
    if (!talk.status()) say_why(talk);
    return *talk.status();
}

}  // namespace vmdkdm
