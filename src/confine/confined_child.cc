#include "confine/confined_child.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>

#include "base/concat.h"

namespace vmdkdm {
namespace {

constexpr int progress_interval_ms = 100;
constexpr std::size_t max_error_text = 32 << 10;

// The first number of a message.
enum class Kind : std::uint64_t { ready, request, progress, done, failed, answer, value, no_memory };

void encode_error(Encoder& to, const std::exception& error) {
    const auto* ours = dynamic_cast<const Error*>(&error);
    to.number(static_cast<std::uint64_t>(ours != nullptr ? ours->kind() : ErrorKind::system));
    to.number(dynamic_cast<const TextError*>(&error) != nullptr ? 1 : 0);
    to.text(std::string_view(error.what()).substr(0, max_error_text));
}

ErrorKind decode_error_kind(Decoder& from) {
    switch (const auto kind = static_cast<ErrorKind>(from.number())) {
        case ErrorKind::system:
        case ErrorKind::usage:
        case ErrorKind::format:
        case ErrorKind::refused:
        case ErrorKind::busy:
        case ErrorKind::not_found:
        case ErrorKind::changed:
            return kind;
    }
    throw BadValue("there is no such kind of error");
}

[[noreturn]] void throw_error(Decoder& from) {
    const ErrorKind kind = decode_error_kind(from);
    const bool in_text = from.flag();
    const std::string text = from.text(max_error_text);
    from.expect_end();
    if (in_text && std::count(text.begin(), text.end(), '\n') > 2)
        throw BadValue("an error has more lines than a message, a line and a caret");
    if (in_text) throw TextError(text);
    throw Error(kind, text);
}

Encoder message_of(Kind kind) {
    Encoder message;
    message.number(static_cast<std::uint64_t>(kind));
    return message;
}

// The child: never returns, and runs no destructor or exit handler of the parent's.
class Child {
  public:
    Child(const ConfinedTask& task, Channel channel, pid_t parent)
        : task_(task), channel_(std::move(channel)), parent_(parent) {}

    [[noreturn]] void run() {
        Encoder last = message_of(Kind::done);
        try {
            give_up_powers();
            ParentLink link(channel_);
            Encoder value(
                Channel::max_message - value_head_.bytes().size(),
                [this](std::span<const std::byte> piece) { channel_.send(value_head_.bytes(), piece); });
            task_.work(link, value);
            value.flush();
        } catch (const std::bad_alloc&) {
            last = message_of(Kind::no_memory);
        } catch (const std::exception& error) {
            last = message_of(Kind::failed);
            encode_error(last, error);
        }
        try {
            channel_.send(last.bytes());
        } catch (const std::exception&) {
            // Nobody is left who could be told.
        }
        ::_exit(0);
    }

  private:
    void give_up_powers() {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (::getppid() != parent_) ::_exit(0);  // it died before
        if (task_.before) task_.before();
        std::vector<int> keep = task_.keep;
        keep.push_back(channel_.fd());
        Encoder ready = message_of(Kind::ready);
        ready.text(confine(task_.powers, task_.budget, keep));
        channel_.send(ready.bytes());
    }

    const ConfinedTask& task_;
    Channel channel_;
    pid_t parent_;
    Encoder value_head_ = message_of(Kind::value);
};

// The parent's hold on a child; when it goes, the child does.
class ChildProcess {
  public:
    explicit ChildProcess(pid_t process) : process_(process) {}
    ~ChildProcess() { end(); }
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    // The status that it ended with. It has no more to say, so that it need not end by itself: if it is
    // ending, that is what it ended with.
    int end() {
        if (process_ <= 0) return status_;
        ::kill(process_, SIGKILL);
        while (::waitpid(process_, &status_, 0) < 0 && errno == EINTR) continue;
        process_ = -1;
        return status_;
    }

  private:
    pid_t process_;
    int status_ = 0;
};

Error end_without_answer(const std::string& worker, int status) {
    if (!WIFSIGNALED(status))
        return {ErrorKind::system,
                concat(worker, " ended without an answer (status ", WEXITSTATUS(status), ")")};
    const int signal = WTERMSIG(status);
    if (signal == SIGKILL)
        return {ErrorKind::system,
                concat(worker, " was killed, as the kernel does when memory runs out; nothing was done")};
    if (signal == SIGXCPU)
        return {ErrorKind::format,
                concat("it made ", worker, " compute for longer than any image takes; nothing was done")};
    return {ErrorKind::format,
            concat("it made ", worker, " end with signal ", signal, " (",
                   signal == SIGSYS ? "a system call that it has no use for" : ::strsignal(signal),
                   "): this is a bug in vmdk-dm; nothing was done")};
}

// The parent, as long as the child works.
class Parent {
  public:
    Parent(const ConfinedTask& task, const Channel& channel, ChildProcess& child)
        : task_(task), channel_(channel), child_(child) {}

    // The next piece of the value, until another one is asked for; empty when the child has handed back all.
    // Throws what it threw, or how it died.
    std::span<const std::byte> next_piece() {
        while (!done_) {
            if (task_.progress && !channel_.wait(progress_interval_ms)) {
                task_.progress(progress_, total_);
                continue;
            }
            const auto message = channel_.receive_into(buffer_);
            if (!message) throw end_without_answer(task_.worker, child_.end());
            Decoder from(*message);
            if (const auto piece = take(from)) return *piece;
        }
        return {};
    }

    std::string unfiltered() && { return std::move(unfiltered_); }

  private:
    // A piece of the value, if it is one.
    std::optional<std::span<const std::byte>> take(Decoder& from) {
        const auto kind = static_cast<Kind>(from.number());
        // Told before it has read anything, so it is true; what is told later is not heard.
        if (kind == Kind::ready && !ready_) {
            ready_ = true;
            unfiltered_ = from.text(max_error_text);
            return std::nullopt;
        }
        switch (kind) {
            case Kind::request:
                answer(from);
                return std::nullopt;
            case Kind::progress:
                take_progress(from);
                return std::nullopt;
            case Kind::value:
                answering_ = true;
                if (from.rest().empty()) return std::nullopt;
                return from.rest();
            case Kind::done:
                from.expect_end();
                done_ = true;
                child_.end();
                return std::nullopt;
            case Kind::failed:
                throw_error(from);
            case Kind::no_memory:
                throw std::bad_alloc();
            case Kind::ready:
            case Kind::answer:
                break;
        }
        throw BadValue("there is no such message");
    }

    void answer(Decoder& from) {
        if (!task_.serve) throw BadValue("it asked for something");
        // Whoever reads the value relies on what was served before.
        if (answering_) throw BadValue("it asked for something when it had begun to answer");
        if (++requests_ > task_.most_requests)
            throw BadValue(concat("it asked more than ", task_.most_requests, " times"));
        Encoder message;
        int fd = -1;
        try {
            const Reply reply = task_.serve(from);
            message = message_of(Kind::answer);
            message.append(reply.value);
            fd = reply.fd;
        } catch (const Error& error) {
            message = message_of(Kind::failed);
            encode_error(message, error);
        }
        try {
            channel_.send(message.bytes(), fd);
        } catch (const Error&) {
            // It died; the next thing to be received is the end.
        }
    }

    void take_progress(Decoder& from) {
        progress_ = from.number();
        total_ = from.number();
        from.expect_end();
        if (total_ != 0) progress_ = std::min(progress_, total_);
        if (task_.progress) task_.progress(progress_, total_);
    }

    const ConfinedTask& task_;
    const Channel& channel_;
    ChildProcess& child_;
    std::array<std::byte, Channel::max_message> buffer_;  // not filled, so that few of its pages are touched
    bool ready_ = false;
    bool answering_ = false;
    bool done_ = false;
    std::string unfiltered_;
    std::uint64_t requests_ = 0;
    std::uint64_t progress_ = 0;
    std::uint64_t total_ = 0;
};

}  // namespace

void ParentLink::send(const Encoder& request) {
    Encoder message = message_of(Kind::request);
    message.append(request);
    if (message.bytes().size() > Channel::max_message)
        throw Error(ErrorKind::format, "a name in it is far too long");
    channel_.send(message.bytes());
}

Message ParentLink::reply() {
    std::optional<Message> reply = channel_.receive();
    if (!reply) ::_exit(0);  // the parent is gone
    Decoder from(reply->bytes);
    if (static_cast<Kind>(from.number()) == Kind::failed) throw_error(from);
    reply->bytes.erase(reply->bytes.begin(), reply->bytes.begin() + sizeof(std::uint64_t));
    return std::move(*reply);
}

void ParentLink::tell_progress(std::uint64_t done, std::uint64_t total) {
    Encoder message = message_of(Kind::progress);
    message.number(done);
    message.number(total);
    channel_.send(message.bytes());
}

Error impossible_answer(const std::string& worker, const BadValue& error) {
    return {ErrorKind::format, concat("it made ", worker, " answer what cannot be (", error.what(),
                                      "): this is a bug in vmdk-dm; nothing was done")};
}

std::string run_confined(const ConfinedTask& task, const std::function<void(Decoder&)>& decode) {
    auto [ours, theirs] = Channel::pair();
    const pid_t parent = ::getpid();
    const pid_t process = ::fork();
    if (process < 0) throw system_error("fork", errno);
    if (process == 0) {
        ours.close();
        Child(task, std::move(theirs), parent).run();
    }
    ChildProcess child(process);
    theirs.close();
    Parent here(task, ours, child);
    try {
        Decoder value([&here] { return here.next_piece(); }, max_value);
        decode(value);
        value.expect_end();
    } catch (const BadValue& error) {
        throw impossible_answer(task.worker, error);
    }
    return std::move(here).unfiltered();
}

}  // namespace vmdkdm
