// A CPU for an embedded kernel.
#pragma once

#include <sched.h>

#include <optional>

#include "base/unique_fd.h"

namespace vmdkdm {

/// User-Mode Linux runs as two processes that wait for each other at every system call and page fault. On two
/// CPUs each switch wakes the other CPU, which takes up to twice the processor time. This is a CPU, of those
/// that we may use, on which no other embedded kernel of ours or of scripts/on-one-cpu runs, for as long as
/// the value lives. Where all are taken it is none.
class OwnCpu {
  public:
    OwnCpu();

    std::optional<unsigned> number() const { return number_; }
    /// Binds the calling process to it. For the child of a fork.
    void enter() const;

  private:
    UniqueFd lock_;
    std::optional<unsigned> number_;
};

}  // namespace vmdkdm
