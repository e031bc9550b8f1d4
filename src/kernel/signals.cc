#include "kernel/signals.h"

namespace vmdkdm {
namespace {

constexpr int interruptions[] = {SIGINT, SIGTERM, SIGHUP};

sigset_t interruption_set() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : interruptions) ::sigaddset(&set, signal);
    return set;
}

}  // namespace

SignalDelay::SignalDelay() {
    const sigset_t delayed = interruption_set();
    ::sigprocmask(SIG_BLOCK, &delayed, &previous_);
}

SignalDelay::~SignalDelay() { ::sigprocmask(SIG_SETMASK, &previous_, nullptr); }

// POSIX: to ignore a signal is also to drop it when it waits.
void SignalDelay::discard() const {
    for (const int signal : interruptions) ::signal(signal, SIG_IGN);
}

SignalPassage::SignalPassage() {
    const sigset_t passing = interruption_set();
    ::sigprocmask(SIG_UNBLOCK, &passing, &previous_);
}

SignalPassage::~SignalPassage() { ::sigprocmask(SIG_SETMASK, &previous_, nullptr); }

bool interruption_pending() {
    sigset_t pending;
    ::sigpending(&pending);
    for (const int signal : interruptions)
        if (::sigismember(&pending, signal) == 1) return true;
    return false;
}

}  // namespace vmdkdm
