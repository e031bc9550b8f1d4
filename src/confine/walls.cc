#include "confine/walls.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

// ---- The empty root

// In a process that has its root and working directory in common with us: never returns. Its memory is ours.
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
__attribute__((no_sanitize("address", "undefined")))
#endif
int take_own_directory(void*) {
    const bool done = ::chroot("/proc/self/fdinfo") == 0 && ::chdir("/") == 0;
    ::syscall(SYS_exit, done ? 0 : 1);
    return 1;
}

// The directory of a process that is no more has no names in it, and none can be made. So a process that ends
// at once takes its own as the root of both.
bool take_directory_of_dead_process() {
    alignas(16) std::array<std::byte, 64 << 10> stack;
    const pid_t process = ::clone(take_own_directory, stack.data() + stack.size(),
                                  CLONE_FS | CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr);
    if (process < 0) return false;
    int status = 0;
    while (::waitpid(process, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// ---- Landlock

// As linux/landlock.h has it, which not every system has that this is built on.
struct Ruleset {
    std::uint64_t file_system = 0;
    std::uint64_t network = 0;
    std::uint64_t scoped = 0;
};
constexpr long landlock_create_ruleset = 444;  // the same on all architectures
constexpr long landlock_restrict_self = 446;
constexpr unsigned say_version = 1;

constexpr std::uint64_t lowest_bits(unsigned count) { return (std::uint64_t{1} << count) - 1; }

// All that a version knows; of what a later one knows it would refuse the whole.
Ruleset everything_of(long version) {
    Ruleset all;
    all.file_system = lowest_bits(version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13);
    if (version >= 4) all.network = lowest_bits(2);
    if (version >= 6) all.scoped = lowest_bits(2);
    return all;
}

std::size_t size_of(long version) {
    return (version >= 6 ? 3 : version >= 4 ? 2 : 1) * sizeof(std::uint64_t);
}

}  // namespace

bool enter_empty_root() {
    if (::geteuid() == 0 && take_directory_of_dead_process()) return true;
    return ::unshare(CLONE_NEWUSER) == 0 && take_directory_of_dead_process();
}

bool close_file_system() {
    const long version = ::syscall(landlock_create_ruleset, nullptr, 0, say_version);
    if (version < 1) return false;
    const Ruleset all = everything_of(version);
    const UniqueFd rules(static_cast<int>(::syscall(landlock_create_ruleset, &all, size_of(version), 0)));
    return rules && ::syscall(landlock_restrict_self, rules.get(), 0) == 0;
}

}  // namespace vmdkdm
