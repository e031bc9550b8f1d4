#include "embedded/guest.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "base/unique_fd.h"
#include "embedded/lines.h"

namespace vmdkdm {
namespace {

void must(bool done, std::string_view what) {
    if (!done) throw system_error(concat("inside the embedded kernel: ", what), errno);
}

void mount_own(const char* type, const std::string& directory, const char* options = nullptr) {
    make_directories(directory);
    must(::mount(type, directory.c_str(), type, MS_NOSUID | MS_NOEXEC, options) == 0,
         concat("cannot mount ", directory));
}

void mount_usual_places() {
    ::mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, nullptr);  // the kernel may have done it already
    mount_own("proc", "/proc");
    mount_own("sysfs", "/sys");
    mount_own("devpts", "/dev/pts", "mode=620,ptmxmode=666");
    mount_own("tmpfs", "/dev/shm", "mode=1777");
    for (const char* directory : {"/run", "/mnt", "/var/cache"})
        must(::mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") == 0, directory);
    for (const char* directory : {"/tmp", "/var/tmp"})
        must(::mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0, directory);
    make_directories("/run/lock");
    const std::pair<const char*, const char*> links[] = {{"/proc/self/fd", "/dev/fd"},
                                                         {"/proc/self/fd/0", "/dev/stdin"},
                                                         {"/proc/self/fd/1", "/dev/stdout"},
                                                         {"/proc/self/fd/2", "/dev/stderr"}};
    for (const auto& [target, link] : links) [[maybe_unused]] const int ignored = ::symlink(target, link);
}

// The same directory as outside, over what was just mounted there.
void show_again(const std::string& directory) {
    make_directories(directory);
    must(::mount("none", directory.c_str(), "hostfs", MS_NOSUID | MS_NODEV, directory.c_str()) == 0,
         concat("cannot show ", directory));
}

void write_file(const char* path, std::string_view text, mode_t mode) {
    const UniqueFd file(::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    must(file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), path);
}

constexpr const char* uevent_helper = "/sys/kernel/uevent_helper";

// The modules lie where the package of the kernel puts them, which is no place where modprobe looks.
void load_modules(const Guest& guest) {
    make_directories("/run/embedded/lib");
    must(::symlink("/usr/lib/uml/modules", "/run/embedded/lib/modules") == 0, "cannot make a link");
    // The kernel asks for further ones by itself, such as for the file system of a mount.
    write_file("/run/embedded/modprobe", "#!/bin/sh\nexec /sbin/modprobe --dirname /run/embedded \"$@\"\n",
               0755);
    write_file("/proc/sys/kernel/modprobe", "/run/embedded/modprobe", 0);
    // The kernel would start this program at each event of a device, which takes some 5 ms even where there
    // is none, as here; and a loop device has five.
    if (std::filesystem::exists(uevent_helper)) write_file(uevent_helper, "\n", 0);
    const int status = guest.run(
        [] {
            return execute({"/sbin/modprobe", "--all", "--dirname", "/run/embedded", "loop", "dm-mod"}, {});
        },
        nullptr);
    if (status != 0)
        throw Error(
            ErrorKind::system,
            "inside the embedded kernel: cannot load the modules of loop devices and of the device mapper "
            "(package kmod)");
}

int open_line(const char* path) {
    const int line = ::open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    must(line >= 0, concat("cannot open ", path));
    termios raw = {};
    must(::tcgetattr(line, &raw) == 0, path);
    ::cfmakeraw(&raw);
    must(::tcsetattr(line, TCSANOW, &raw) == 0, path);
    return line;
}

bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

int exit_status(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// As process 1 must, also others that have lost their parents.
int wait_for(pid_t child) {
    for (;;) {
        int status = 0;
        const pid_t ended = ::waitpid(-1, &status, 0);
        if (ended == child) return exit_status(status);
        if (ended < 0 && errno != EINTR) return 128;
    }
}

pid_t fork_child(const std::function<int()>& body) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    must(child >= 0, "fork");
    if (child > 0) return child;
    int status = 1;
    try {
        status = body();
    } catch (const std::exception& error) {
        write_all(STDERR_FILENO, concat("vmdk-dm: ", escaped(error.what()), "\n"));
    }
    std::fflush(nullptr);
    ::_exit(status);
}

// Reads until the end, or until nobody has the other end of a terminal any more.
void copy_stream(int from, int to) {
    std::vector<char> buffer(1 << 16);
    for (;;) {
        const ssize_t got = ::read(from, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0 || !write_all(to, {buffer.data(), static_cast<std::size_t>(got)})) return;
    }
}

// From the line to the command's standard input. In a terminal the end of the file is a key.
void copy_frames(int line, int to, bool terminal) {
    constexpr std::string_view end_key = "\x04";
    std::string received;
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t got = ::read(line, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        received.append(buffer.data(), static_cast<std::size_t>(got));
        write_all(line, concat(said_took, got, "\n"));
        while (const std::optional<Frame> frame = take_frame(received)) {
            if (frame->kind == Frame::Kind::data) write_all(to, frame->content);
            if (frame->kind == Frame::Kind::window_size && terminal) {
                const WindowSize size = window_size(*frame);
                const winsize set{size.rows, size.columns, 0, 0};
                ::ioctl(to, TIOCSWINSZ, &set);
            }
            if (frame->kind == Frame::Kind::end_of_file) {
                if (!terminal) return;
                write_all(to, end_key);
            }
        }
    }
}

struct Pair {
    UniqueFd inside;   // the command's
    UniqueFd outside;  // ours
};

Pair make_pair(bool command_reads) {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    Pair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
    if (!command_reads) std::swap(pair.inside, pair.outside);
    return pair;
}

Pair make_terminal() {
    Pair pair;
    pair.outside.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(static_cast<bool>(pair.outside) && ::unlockpt(pair.outside.get()) == 0, "cannot make a terminal");
    std::array<char, 64> name;
    must(::ptsname_r(pair.outside.get(), name.data(), name.size()) == 0, "cannot make a terminal");
    pair.inside.reset(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(static_cast<bool>(pair.inside), "cannot open a terminal");
    return pair;
}

void take_streams(int input, int output, int errors) {
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(errors, STDERR_FILENO);
}

// All that is not `kept` and not of the kernel itself.
void kill_others(const std::set<pid_t>& kept) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string name = entry.path().filename();
        pid_t process = 0;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), process);
        if (error == std::errc() && *end == '\0' && process != 1 && !kept.contains(process))
            ::kill(process, SIGKILL);
    }
}

// A command that left something running, which goes on writing, would never end.
int wait_for_all(pid_t command, std::set<pid_t> outputs, pid_t input) {
    std::optional<int> status;
    while (!status || !outputs.empty()) {
        int how = 0;
        const pid_t ended = ::waitpid(-1, &how, 0);
        if (ended < 0 && errno != EINTR) break;
        outputs.erase(ended);
        if (ended != command) continue;
        status = exit_status(how);
        std::set<pid_t> kept = outputs;
        kept.insert(input);
        kill_others(kept);
    }
    ::kill(input, SIGKILL);
    return status.value_or(128);
}

int run_on_terminal(const std::function<int()>& body, int input_line, int output_line_fd) {
    Pair terminal = make_terminal();
    const pid_t command = fork_child([&] {
        ::setsid();
        ::ioctl(terminal.inside.get(), TIOCSCTTY, 0);
        take_streams(terminal.inside.get(), terminal.inside.get(), terminal.inside.get());
        return body();
    });
    terminal.inside.reset();
    const pid_t output = fork_child([&] { return copy_stream(terminal.outside.get(), output_line_fd), 0; });
    const pid_t input = fork_child([&] { return copy_frames(input_line, terminal.outside.get(), true), 0; });
    return wait_for_all(command, {output}, input);
}

int run_on_pipes(const std::function<int()>& body, int input_line, int output_line_fd, int errors_line_fd) {
    Pair input = make_pair(true);
    Pair output = make_pair(false);
    Pair errors = make_pair(false);
    const pid_t command = fork_child([&] {
        ::setsid();
        take_streams(input.inside.get(), output.inside.get(), errors.inside.get());
        return body();
    });
    for (Pair* pair : {&input, &output, &errors}) pair->inside.reset();
    const pid_t input_copy = fork_child([&] {
        for (Pair* pair : {&output, &errors}) pair->outside.reset();
        copy_frames(input_line, input.outside.get(), false);
        return 0;
    });
    input.outside.reset();
    const pid_t output_copy =
        fork_child([&] { return copy_stream(output.outside.get(), output_line_fd), 0; });
    const pid_t errors_copy =
        fork_child([&] { return copy_stream(errors.outside.get(), errors_line_fd), 0; });
    return wait_for_all(command, {output_copy, errors_copy}, input_copy);
}

std::string read_job() {
    std::ifstream file(job_path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Guest::Guest() {
    mount_usual_places();
    output_ = open_line(output_line);
    errors_ = open_line(errors_line);
    words_ = open_line(words_line);
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    take_streams(nothing, errors_, errors_);
    job_ = parse_job(read_job());
    for (const std::string& directory : job_.show_again) show_again(directory);
    must(::sethostname("embedded", 8) == 0, "sethostname");
    load_modules(*this);
}

int Guest::run(const std::function<int()>& body, std::string* output) const {
    if (output == nullptr) return wait_for(fork_child(body));
    Pair pipe = make_pair(false);
    const pid_t child = fork_child([&] {
        ::dup2(pipe.inside.get(), STDOUT_FILENO);
        return body();
    });
    pipe.inside.reset();
    std::array<char, 65536> buffer;
    for (ssize_t got = 1; got > 0;) {
        got = ::read(pipe.outside.get(), buffer.data(), buffer.size());
        if (got > 0) output->append(buffer.data(), static_cast<std::size_t>(got));
    }
    return wait_for(child);
}

int Guest::run_command(const std::function<int()>& body) const {
    write_all(words_, concat(said_running, "\n", said_ready, "\n"));
    return job_.terminal ? run_on_terminal(body, words_, output_)
                         : run_on_pipes(body, words_, output_, errors_);
}

int Guest::run_sender(const std::function<int()>& body) const {
    return wait_for(fork_child([&] {
        ::dup2(output_, STDOUT_FILENO);
        return body();
    }));
}

void Guest::end(int status) const {
    for (const std::string& directory : job_.writable) {
        const UniqueFd open(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (open && ::syncfs(open.get()) != 0) status = std::max(status, 1);
    }
    for (const int line : {output_, errors_}) ::tcdrain(line);
    write_all(words_, concat(said_status, status, "\n"));
    ::tcdrain(words_);
    ::reboot(RB_POWER_OFF);
    ::_exit(0);
}

std::string mount_directory(const Job& job) { return concat("/mnt/", job.name); }

void make_directories(const std::string& path) {
    for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
        const std::string part = path.substr(0, end);
        if (::mkdir(part.c_str(), 0755) != 0)
            must(errno == EEXIST || errno == EROFS, concat("cannot make ", part));
        if (end == std::string::npos) return;
    }
}

int execute(const std::vector<std::string>& words, const std::vector<std::string>& environment) {
    std::vector<char*> word_pointers;
    for (const std::string& word : words) word_pointers.push_back(const_cast<char*>(word.c_str()));
    word_pointers.push_back(nullptr);
    std::vector<char*> variables;
    for (const std::string& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
    variables.push_back(nullptr);
    ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    ::execvpe(word_pointers[0], word_pointers.data(), variables.data());
    const int error = errno;
    write_all(STDERR_FILENO,
              concat("vmdk-dm: cannot run '", escaped(words.front()), "': ", std::strerror(error), "\n"));
    return error == ENOENT ? 127 : 126;
}

}  // namespace vmdkdm
