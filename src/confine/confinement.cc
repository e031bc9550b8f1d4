#include "confine/confinement.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "confine/shared_number.h"
#include "confine/system_call_filter.h"
#include "confine/walls.h"

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

constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30;

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

// A signal may come at `most`; SIGKILL, or an error, at `hard`. Less than that may be in force already.
template <class Resource>
void limit(Resource resource, std::uint64_t most, std::uint64_t hard) {
    struct rlimit now = {};
    if (::getrlimit(resource, &now) == 0) hard = std::min<std::uint64_t>(hard, now.rlim_max);
    const struct rlimit limits = {std::min(most, hard), hard};
    if (::setrlimit(resource, &limits) != 0) throw system_error("setrlimit", errno);
}

// Of this process, in bytes; nothing where there is no /proc.
std::optional<std::uint64_t> address_space() {
    const UniqueFd file(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
    char text[64] = {};
    if (!file || ::read(file.get(), text, sizeof text - 1) <= 0) return std::nullopt;
    return std::strtoull(text, nullptr, 10) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// A file that would become too long is an error of the write, and not the signal that ends the process.
void limit_resources(const Budget& budget, std::optional<std::uint64_t> has) {
    limit(RLIMIT_CORE, 0, 0);
    if (has && !has_sanitizer) limit(RLIMIT_AS, *has + budget.memory, *has + budget.memory);
    if (budget.processor_seconds) limit(RLIMIT_CPU, *budget.processor_seconds, *budget.processor_seconds + 1);
    ::signal(SIGXFSZ, SIG_IGN);
    limit(RLIMIT_FSIZE, budget.file_bytes, budget.file_bytes);
}

// The bounding set can only be emptied by who has CAP_SETPCAP; for others it is of no use, as they gain
// nothing by exec any more.
void drop_capabilities() {
    capng_clear(CAPNG_SELECT_BOTH);
    capng_apply(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) throw system_error("cannot drop capabilities", EPERM);
}

void allow_memory(SystemCallFilter& filter) {
    filter.allow({SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise)});
    // Nothing that was written can be run.
    filter.allow_if(SCMP_SYS(mmap), {SystemCallFilter::bits(2, PROT_EXEC, 0)});
    filter.allow_if(SCMP_SYS(mprotect), {SystemCallFilter::bits(2, PROT_EXEC, 0)});
}

void allow_what_is_open(SystemCallFilter& filter) {
    filter.allow({SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(close),
                  SCMP_SYS(fstat), SCMP_SYS(fstat64), SCMP_SYS(fstatfs), SCMP_SYS(fstatfs64)});
    // The C library may ask about a descriptor this way. A filter cannot see whether the path is empty, so it
    // is left to do without; we ask by fstat (base/descriptor_status.h).
    filter.refuse(EACCES, {SCMP_SYS(newfstatat)});
    // The channel, and the file that the result goes into.
    filter.allow({SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(write)});
}

void allow_process(SystemCallFilter& filter) {
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
    filter.allow_if(SCMP_SYS(tgkill), {SystemCallFilter::equals(0, static_cast<std::uint64_t>(::getpid()))});
    // What a library may try without need: it goes on without.
    filter.refuse(EACCES, {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(readlink),
                           SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat)});
}

// Threads and no processes. The flags of clone3 cannot be seen by a filter; without it the C library takes
// clone.
void allow_threads(SystemCallFilter& filter) {
    constexpr std::uint64_t thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    constexpr std::uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                         CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
    filter.refuse(ENOSYS, {SCMP_SYS(clone3)});
    filter.allow_if(SCMP_SYS(clone), {SystemCallFilter::bits(0, thread | namespaces, thread)});
}

void allow_output(SystemCallFilter& filter) {
    filter.allow({SCMP_SYS(pwrite64)});
    filter.allow_if(SCMP_SYS(ioctl), {SystemCallFilter::equals(1, FICLONERANGE)});
    filter.allow_if(SCMP_SYS(ioctl), {SystemCallFilter::equals(1, BLKZEROOUT)});
}

// Its threads, its reports, and the pipes by which it finds out whether memory may be read.
void allow_sanitizer(SystemCallFilter& filter) {
    filter.allow({SCMP_SYS(sigaltstack), SCMP_SYS(getrlimit), SCMP_SYS(prlimit64), SCMP_SYS(uname),
                  SCMP_SYS(getppid), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(getuid), SCMP_SYS(geteuid),
                  SCMP_SYS(mincore), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(socketpair)});
    filter.refuse(EACCES, {SCMP_SYS(stat), SCMP_SYS(ptrace), SCMP_SYS(prctl), SCMP_SYS(wait4)});
}

std::string filter_system_calls(const Powers& powers) {
    if (const int error = SystemCallFilter::why_not_granted(); error != 0) return std::strerror(error);
    SystemCallFilter filter(SCMP_ACT_KILL_PROCESS);
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

Budget Budget::of_reader() {
    const std::uint64_t memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                 static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    return {std::max(memory / 2, gibibyte), 3600, 0};
}

Budget Budget::of_prober() { return {gibibyte / 4, 60, 0}; }

// A thread reserves its stack, and the C library an arena for it. The slowest processors inflate and hash
// some ten times as much in a second.
Budget Budget::of_copier(std::uint64_t bytes, std::uint64_t file_bytes) {
    constexpr std::uint64_t most_stack = 64 << 20;
    constexpr std::uint64_t arena = 128 << 20;
    struct rlimit stack = {};
    ::getrlimit(RLIMIT_STACK, &stack);
    const std::uint64_t threads = std::clamp(std::thread::hardware_concurrency(), 1U, 64U) + 4;
    return {gibibyte + threads * (arena + std::min<std::uint64_t>(stack.rlim_cur, most_stack)),
            600 + bytes / (2 << 20), file_bytes};
}

std::string confine(const Powers& powers, const Budget& budget, const std::vector<int>& keep) {
    end_when_crashing();
    silence_standard_streams();
    close_all_but(keep);
    SharedNumber::leave_all();
    const std::optional<std::uint64_t> has = address_space();
    const bool has_empty_root = ::geteuid() == 0 && enter_empty_root();
    limit_resources(budget, has);
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) throw system_error("PR_SET_DUMPABLE", errno);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) throw system_error("PR_SET_NO_NEW_PRIVS", errno);
    // A user namespace is the second choice: where they are forbidden, each attempt may be logged.
    if (!close_file_system() && !has_empty_root) enter_empty_root();
    drop_capabilities();
    confined = true;
    return filter_system_calls(powers);
}

bool is_confined() { return confined; }

}  // namespace vmdkdm
