// The caller's terminal, while a shell inside the embedded kernel uses it.
#pragma once

#include <termios.h>

#include <optional>

#include "embedded/lines.h"

namespace vmdkdm {

/// Passes every key on as it is, Ctrl-C included, while it lives.
class RawTerminal {
  public:
    /// Throws Error (system) when it is no terminal.
    explicit RawTerminal(int terminal);
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

  private:
    int terminal_;
    termios before_{};
};

/// None when it does not say.
std::optional<WindowSize> window_size_of(int terminal);

}  // namespace vmdkdm
