#include "cli/key_options.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

// What is typed is not shown while this lives.
class NoEcho {
  public:
    explicit NoEcho(int terminal) : terminal_(terminal) {
        ::tcgetattr(terminal, &before_);
        termios silent = before_;
        silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        ::tcsetattr(terminal, TCSAFLUSH, &silent);
    }
    ~NoEcho() { ::tcsetattr(terminal_, TCSAFLUSH, &before_); }
    NoEcho(const NoEcho&) = delete;
    NoEcho& operator=(const NoEcho&) = delete;

  private:
    int terminal_;
    termios before_{};
};

void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) throw system_error("cannot write to the terminal", errno);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

// One line from the terminal itself, whatever standard input is.
Secret ask_on_terminal(const Volume& volume) {
    const UniqueFd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (!terminal) throw system_error("cannot open the terminal", errno);
    write_all(terminal.get(), concat("Passphrase of ", escaped(volume.path), ": "));
    const NoEcho silence(terminal.get());
    // Longer than any line of a terminal, so that the text never moves and leaves a copy.
    std::string line(4096, '\0');
    ssize_t size = -1;
    do size = ::read(terminal.get(), line.data(), line.size());
    while (size < 0 && errno == EINTR);
    write_all(terminal.get(), "\n");
    if (size <= 0) throw Error(ErrorKind::refused, "no passphrase was given");
    const bool ended = line[static_cast<std::size_t>(size) - 1] == '\n';
    Secret secret(line.substr(0, static_cast<std::size_t>(size) - (ended ? 1 : 0)));
    ::explicit_bzero(line.data(), line.size());
    return secret;
}

bool has_terminal() { return UniqueFd(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)).get() >= 0; }

}  // namespace

void add_key_options(Command& command, KeyOptions& options) {
    command.add_option("--key-file", options.file, "FILE",
                       "Key of the encrypted volumes, or their passphrase, in FILE; '-' is standard input");
    command.add_option("--key-fd", options.descriptor, "N", "The same, from an open file descriptor");
    command.add_option(
        "--key", options.of_volumes, "PAIR",
        "VOLUME=FILE: the key of one volume, by its name, partition number, VG/LV or path (repeatable)");
}

Keys keys_of(const KeyOptions& options, bool may_ask) {
    if (options.file && options.descriptor)
        throw Error(ErrorKind::usage, "--key-file and --key-fd exclude each other");
    Keys keys;
    if (options.file) keys.for_all = KeyFile{*options.file};
    if (options.descriptor) {
        if (*options.descriptor < 0 || ::fcntl(*options.descriptor, F_GETFD) < 0)
            throw Error(ErrorKind::usage, concat("--key-fd ", *options.descriptor, ": it is not open"));
        keys.for_all = KeyDescriptor{*options.descriptor};
    }
    for (const std::string& word : options.of_volumes) {
        // A name of ours may hold '=', a volume group may not; a file may.
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == word.size())
            throw Error(ErrorKind::usage, concat("--key '", word, "' is not VOLUME=FILE"));
        if (!keys.by_volume.emplace(word.substr(0, equals), KeyFile{word.substr(equals + 1)}).second)
            throw Error(ErrorKind::usage, concat("--key ", word.substr(0, equals), "=... is given twice"));
    }
    if (may_ask && has_terminal()) keys.ask = ask_on_terminal;
    return keys;
}

}  // namespace vmdkdm
