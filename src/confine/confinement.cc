#include "confine/confinement.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool has_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool has_sanitizer = true;
#else
constexpr bool has_sanitizer = false;
#endif
#else
constexpr bool has_sanitizer = false;
#endif

bool confined = false;

// What a crash does is to end the process. A sanitizer's handlers report it first.
void end_when_crashing() {
    if (has_sanitizer) return;
    for (const int crash : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS})
        ::signal(crash, SIG_DFL);
}

// A sanitizer reports on standard error.
void silence_standard_streams() {
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (has_sanitizer && stream == STDERR_FILENO) continue;
        if (nothing)
            ::dup2(nothing.get(), stream);
        else
            ::close(stream);
    }
}

void close_all_but(std::vector<int> keep) {
    std::sort(keep.begin(), keep.end());
    unsigned next = STDERR_FILENO + 1;
    for (const int fd : keep) {
        const auto kept = static_cast<unsigned>(fd);
        if (fd < 0 || kept < next) continue;
        if (kept > next) ::close_range(next, kept - 1, 0);
        next = kept + 1;
    }
    if (::close_range(next, std::numeric_limits<unsigned>::max(), 0) != 0)
        throw system_error("close_range", errno);
}

// The bounding set can only be emptied by who has CAP_SETPCAP; for others it is of no use, as they gain
// nothing by exec any more.
void drop_capabilities() {
    capng_clear(CAPNG_SELECT_BOTH);
    capng_apply(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) throw system_error("cannot drop capabilities", EPERM);
}

// libseccomp knows the numbers of all architectures.
class Filter {
  public:
    Filter() : filter_(::seccomp_init(SCMP_ACT_KILL_PROCESS), &::seccomp_release) {
        if (!filter_) throw system_error("seccomp_init", ENOMEM);
        // What runs here is our own code, and cannot be made to speculate as a script can. Kernels before
        // 5.16 would otherwise slow down whatever inflates.
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

    // 0, or an errno.
    int load() const { return -::seccomp_load(filter_.get()); }

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

constexpr scmp_arg_cmp bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}
constexpr scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
    return {argument, SCMP_CMP_EQ, value, 0};
}

void allow_memory(Filter& filter) {
    filter.allow({SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise)});
    // Nothing that was written can be run.
    filter.allow_if(SCMP_SYS(mmap), {bits(2, PROT_EXEC, 0)});
    filter.allow_if(SCMP_SYS(mprotect), {bits(2, PROT_EXEC, 0)});
}

void allow_what_is_open(Filter& filter) {
    filter.allow({SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(close),
                  SCMP_SYS(fstat), SCMP_SYS(fstat64), SCMP_SYS(fstatfs), SCMP_SYS(fstatfs64)});
    // How the C library asks about a descriptor; a path in it can be looked up, but not opened.
    filter.allow_if(SCMP_SYS(newfstatat), {bits(3, 0x1000 /* AT_EMPTY_PATH */, 0x1000)});
    // The channel, and the file that the result goes into.
    filter.allow({SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(write)});
}

void allow_process(Filter& filter) {
    filter.allow({SCMP_SYS(exit),
                  SCMP_SYS(exit_group),
                  SCMP_SYS(futex),
                  SCMP_SYS(futex_time64),
                  SCMP_SYS(clock_gettime),
                  SCMP_SYS(clock_gettime64),
                  SCMP_SYS(gettimeofday),
                  SCMP_SYS(time),
                  SCMP_SYS(clock_nanosleep),
                  SCMP_SYS(nanosleep),
                  SCMP_SYS(restart_syscall),
                  SCMP_SYS(rt_sigreturn),
                  SCMP_SYS(rt_sigprocmask),
                  SCMP_SYS(rt_sigaction),
                  SCMP_SYS(sched_yield),
                  SCMP_SYS(sched_getaffinity),
                  SCMP_SYS(getpid),
                  SCMP_SYS(gettid),
                  SCMP_SYS(getrandom),
                  SCMP_SYS(rseq),
                  SCMP_SYS(set_robust_list)});
    // abort() sends itself a signal, and the parent is to see which.
    filter.allow_if(SCMP_SYS(tgkill), {equals(0, static_cast<std::uint64_t>(::getpid()))});
    // What a library may try without need: it goes on without.
    filter.refuse(EACCES, {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(readlink),
                           SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat)});
}

// Threads and no processes. The flags of clone3 cannot be seen by a filter; without it the C library takes
// clone.
void allow_threads(Filter& filter) {
    constexpr std::uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    constexpr std::uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                         CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
    filter.refuse(ENOSYS, {SCMP_SYS(clone3)});
    filter.allow_if(SCMP_SYS(clone), {bits(0, thread | namespaces, thread)});
}

void allow_output(Filter& filter) {
    filter.allow({SCMP_SYS(pwrite64)});
    filter.allow_if(SCMP_SYS(ioctl), {equals(1, FICLONERANGE)});
    filter.allow_if(SCMP_SYS(ioctl), {equals(1, BLKZEROOUT)});
}

// Its threads, its reports, and the pipes by which it finds out whether memory may be read.
void allow_sanitizer(Filter& filter) {
    filter.allow({SCMP_SYS(sigaltstack), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(uname),
                  SCMP_SYS(getppid), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(getuid), SCMP_SYS(geteuid),
                  SCMP_SYS(mincore), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(socketpair)});
    filter.refuse(EACCES, {SCMP_SYS(stat), SCMP_SYS(ptrace), SCMP_SYS(prctl), SCMP_SYS(wait4)});
}

std::string filter_system_calls(const Powers& powers) {
    Filter filter;
    allow_memory(filter);
    allow_what_is_open(filter);
    allow_process(filter);
    if (powers.threads) allow_threads(filter);
    if (powers.output)
        allow_output(filter);
    else
        filter.refuse(ENOTTY, {SCMP_SYS(ioctl)});  // libblkid asks what kind of device it has
    if (has_sanitizer) allow_sanitizer(filter);
    const int error = filter.load();
    return error == 0 ? "" : std::strerror(error);
}

}  // namespace

std::string confine(const Powers& powers, const std::vector<int>& keep) {
    end_when_crashing();
    silence_standard_streams();
    close_all_but(keep);
    const struct rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) throw system_error("PR_SET_DUMPABLE", errno);
    drop_capabilities();
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw system_error("PR_SET_NO_NEW_PRIVS", errno);
    confined = true;
    return filter_system_calls(powers);
}

bool is_confined() { return confined; }

}  // namespace vmdkdm
