// A child process that outlives ours by an instant: when we end without having said that all is well, however
// that comes about, it cleans up. Only a kill that takes both at once (a whole cgroup) leaves nobody.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/unique_fd.h"

namespace vmdkdm {

class GuardProcess {
  public:
    /// `clean_up` runs in the child, with everything that it was told. Throws Error (system).
    explicit GuardProcess(const std::function<void(const std::string& told)>& clean_up);
    /// Says that all is well, and waits for the child's end.
    ~GuardProcess();
    /// Adds to what `clean_up` is given; no NUL in it. A guard that was killed is told in vain.
    void tell(std::string_view text) const;

    GuardProcess(const GuardProcess&) = delete;
    GuardProcess& operator=(const GuardProcess&) = delete;

  private:
    UniqueFd to_child_;  // our end of the socket to the child
    pid_t child_ = -1;
};

}  // namespace vmdkdm
