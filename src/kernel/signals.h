// Interruption at safe points: while an attach builds, SIGINT, SIGTERM and SIGHUP wait, and it asks between
// two steps whether one has come, undoes what it made and lets the signal take its course.
#pragma once

#include <csignal>

namespace vmdkdm {

class SignalDelay {
  public:
    SignalDelay();
    ~SignalDelay();
    /// Forgets a signal that waits, and those to come: too late to interrupt anything, and a death by one
    /// would say that nothing was done. For a process that is about to end.
    void discard() const;
    SignalDelay(const SignalDelay&) = delete;
    SignalDelay& operator=(const SignalDelay&) = delete;

  private:
    sigset_t previous_{};
};

/// Lets them through for a while, to a child process that is to stay and would inherit that they wait.
class SignalPassage {
  public:
    SignalPassage();
    ~SignalPassage();
    SignalPassage(const SignalPassage&) = delete;
    SignalPassage& operator=(const SignalPassage&) = delete;

  private:
    sigset_t previous_{};
};

/// Whether one of these signals waits.
bool interruption_pending();

}  // namespace vmdkdm
