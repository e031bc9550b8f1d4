#include "kernel/signals.h"

namespace vmdkdm {
namespace {

constexpr int interruptions[] = {SIGINT, SIGTERM, SIGHUP};

}  // namespace

SignalDelay::SignalDelay() {
    sigset_t delayed;
    ::sigemptyset(&delayed);
    for (const int signal : interruptions) ::sigaddset(&delayed, signal);
    ::sigprocmask(SIG_BLOCK, &delayed, &previous_);
}

SignalDelay::~SignalDelay() { ::sigprocmask(SIG_SETMASK, &previous_, nullptr); }

bool interruption_pending() {
    sigset_t pending;
    ::sigpending(&pending);
    for (const int signal : interruptions)
        if (::sigismember(&pending, signal) == 1) return true;
    return false;
}

}  // namespace vmdkdm
