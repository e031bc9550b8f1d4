// How far a long command is: a line on the terminal, or JSON for programs. On standard error, as all that is
// no result.
#pragma once

#include <chrono>
#include <string>
#include "cli/command.h"

#include "compact/progress.h"

namespace vmdkdm {

/// --progress, alike on all commands that take it.
void add_progress_option(Command& command, std::string& when);

/// Also stops the work when a signal waits (see SignalDelay).
class ProgressReport : public Progress {
  public:
    explicit ProgressReport(const std::string& when);
    /// Removes the line from the terminal.
    ~ProgressReport() override;
    ProgressReport(const ProgressReport&) = delete;
    ProgressReport& operator=(const ProgressReport&) = delete;

    void update(Bytes done, Bytes total) override;

  private:
    enum class Form { none, text, json };
    using Clock = std::chrono::steady_clock;

    Form form_;
    bool shown_ = false;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_ = start_;
};

}  // namespace vmdkdm
