// A seccomp filter that is put together call by call, by names that libseccomp knows on each architecture.
#pragma once

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

class SystemCallFilter {
  public:
    /// 0, or an errno: whether this system has filters at all. Where it has none, none can be put together.
    static int why_not_granted() {
        const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
        return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? 0 : errno;
    }

    /// What `otherwise` is for calls that no rule is about. Throws Error (system).
    explicit SystemCallFilter(std::uint32_t otherwise)
        : filter_(::seccomp_init(otherwise), &::seccomp_release) {
        if (!filter_) throw system_error("seccomp_init", ENOMEM);
        // What runs here cannot be made to speculate as a script can. Kernels before 5.16 would otherwise
        // slow down whatever inflates.
        ::seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_SSB, 1);
    }

    void allow(std::initializer_list<int> calls) {
        for (const int call : calls) add(SCMP_ACT_ALLOW, call, {});
    }
    void allow_if(int call, std::initializer_list<scmp_arg_cmp> conditions) {
        add(SCMP_ACT_ALLOW, call, conditions);
    }
    void refuse(int error, std::initializer_list<int> calls) {
        for (const int call : calls) add(SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, {});
    }

    void refuse_if(int error, int call, std::initializer_list<scmp_arg_cmp> conditions) {
        add(SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, conditions);
    }

    /// For this process; 0, or an errno.
    int load() const { return -::seccomp_load(filter_.get()); }
    /// As a program for the kernel, into a file; 0, or an errno.
    int write_to(int fd) const { return -::seccomp_export_bpf(filter_.get(), fd); }

    static constexpr scmp_arg_cmp bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
        return {argument, SCMP_CMP_MASKED_EQ, mask, value};
    }
    static constexpr scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
        return {argument, SCMP_CMP_EQ, value, 0};
    }

  private:
    void add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions) {
        const int result = ::seccomp_rule_add_array(
            filter_.get(), action, call, static_cast<unsigned>(conditions.size()), conditions.begin());
        // A call that this architecture does not have needs no rule.
        if (result != 0 && result != -EDOM)
            throw system_error(concat("seccomp rule for call ", call), -result);
    }

    std::unique_ptr<void, decltype(&::seccomp_release)> filter_;
};

}  // namespace vmdkdm
