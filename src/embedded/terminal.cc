#include "embedded/terminal.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"

namespace vmdkdm {

RawTerminal::RawTerminal(int terminal) : terminal_(terminal) {
    if (::tcgetattr(terminal, &before_) != 0) throw system_error("cannot use the terminal", errno);
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(terminal, TCSADRAIN, &raw);
}

RawTerminal::~RawTerminal() { ::tcsetattr(terminal_, TCSADRAIN, &before_); }

std::optional<WindowSize> window_size_of(int terminal) {
    winsize size = {};
    if (::ioctl(terminal, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        return std::nullopt;
    return WindowSize{size.ws_row, size.ws_col};
}

}  // namespace vmdkdm
