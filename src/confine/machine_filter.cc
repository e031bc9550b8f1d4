#include "confine/machine_filter.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "confine/system_call_filter.h"

namespace vmdkdm {
namespace {

using Filter = SystemCallFilter;

// Programs start it, and its memory is a file that it maps in two processes.
void allow_programs_and_memory(Filter& filter) {
    filter.allow({SCMP_SYS(execve),
                  SCMP_SYS(exit),
                  SCMP_SYS(exit_group),
                  SCMP_SYS(brk),
                  SCMP_SYS(mmap),
                  SCMP_SYS(mmap2),
                  SCMP_SYS(munmap),
                  SCMP_SYS(mremap),
                  SCMP_SYS(mprotect),
                  SCMP_SYS(madvise),
                  SCMP_SYS(msync),
                  SCMP_SYS(arch_prctl),
                  SCMP_SYS(set_tid_address),
                  SCMP_SYS(set_robust_list),
                  SCMP_SYS(rseq),
                  SCMP_SYS(set_thread_area),
                  SCMP_SYS(get_thread_area),
                  SCMP_SYS(modify_ldt),
                  SCMP_SYS(personality),
                  SCMP_SYS(prctl),
                  SCMP_SYS(getrandom),
                  SCMP_SYS(uname),
                  SCMP_SYS(sysinfo),
                  SCMP_SYS(futex),
                  SCMP_SYS(futex_time64),
                  SCMP_SYS(sched_yield),
                  SCMP_SYS(sched_getaffinity),
                  SCMP_SYS(prlimit64),
                  SCMP_SYS(getrlimit),
                  SCMP_SYS(ugetrlimit),
                  SCMP_SYS(setrlimit),
                  SCMP_SYS(getcpu),
                  SCMP_SYS(membarrier)});
}

// The processes inside are processes outside, which it drives by ptrace. Newer ones are driven by filters of
// their own. None gets a namespace, and none is seen besides these.
void allow_processes(Filter& filter) {
    constexpr std::uint64_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                         CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
    filter.allow_if(SCMP_SYS(clone), {Filter::bits(0, namespaces, 0)});
    filter.allow({SCMP_SYS(fork),
                  SCMP_SYS(vfork),
                  SCMP_SYS(wait4),
                  SCMP_SYS(waitid),
                  SCMP_SYS(waitpid),
                  SCMP_SYS(ptrace),
                  SCMP_SYS(seccomp),
                  SCMP_SYS(kill),
                  SCMP_SYS(tkill),
                  SCMP_SYS(tgkill),
                  SCMP_SYS(getpid),
                  SCMP_SYS(getppid),
                  SCMP_SYS(gettid),
                  SCMP_SYS(getpgrp),
                  SCMP_SYS(getpgid),
                  SCMP_SYS(setpgid),
                  SCMP_SYS(getsid),
                  SCMP_SYS(setsid),
                  SCMP_SYS(getuid),
                  SCMP_SYS(geteuid),
                  SCMP_SYS(getgid),
                  SCMP_SYS(getegid),
                  SCMP_SYS(getgroups),
                  SCMP_SYS(getresuid),
                  SCMP_SYS(getresgid),
                  SCMP_SYS(umask),
                  SCMP_SYS(rt_sigaction),
                  SCMP_SYS(rt_sigprocmask),
                  SCMP_SYS(rt_sigpending),
                  SCMP_SYS(rt_sigreturn),
                  SCMP_SYS(rt_sigsuspend),
                  SCMP_SYS(rt_sigtimedwait),
                  SCMP_SYS(rt_sigqueueinfo),
                  SCMP_SYS(sigreturn),
                  SCMP_SYS(sigaltstack),
                  SCMP_SYS(pause),
                  SCMP_SYS(restart_syscall)});
}

void allow_time(Filter& filter) {
    filter.allow({SCMP_SYS(clock_gettime),
                  SCMP_SYS(clock_gettime64),
                  SCMP_SYS(clock_getres),
                  SCMP_SYS(clock_getres_time64),
                  SCMP_SYS(clock_nanosleep),
                  SCMP_SYS(clock_nanosleep_time64),
                  SCMP_SYS(nanosleep),
                  SCMP_SYS(gettimeofday),
                  SCMP_SYS(time),
                  SCMP_SYS(times),
                  SCMP_SYS(getitimer),
                  SCMP_SYS(setitimer),
                  SCMP_SYS(timer_create),
                  SCMP_SYS(timer_settime),
                  SCMP_SYS(timer_settime64),
                  SCMP_SYS(timer_gettime),
                  SCMP_SYS(timer_gettime64),
                  SCMP_SYS(timer_getoverrun),
                  SCMP_SYS(timer_delete),
                  SCMP_SYS(timerfd_create),
                  SCMP_SYS(timerfd_settime),
                  SCMP_SYS(getrusage)});
}

// Its lines, and what wakes it. Its own socket is a file's; a terminal that it is given may not be typed
// into.
void allow_lines(Filter& filter) {
    filter.allow({SCMP_SYS(read),         SCMP_SYS(readv),         SCMP_SYS(pread64),
                  SCMP_SYS(preadv),       SCMP_SYS(write),         SCMP_SYS(writev),
                  SCMP_SYS(pwrite64),     SCMP_SYS(pwritev),       SCMP_SYS(close),
                  SCMP_SYS(close_range),  SCMP_SYS(dup),           SCMP_SYS(dup2),
                  SCMP_SYS(dup3),         SCMP_SYS(fcntl),         SCMP_SYS(fcntl64),
                  SCMP_SYS(pipe),         SCMP_SYS(pipe2),         SCMP_SYS(eventfd),
                  SCMP_SYS(eventfd2),     SCMP_SYS(memfd_create),  SCMP_SYS(poll),
                  SCMP_SYS(ppoll),        SCMP_SYS(ppoll_time64),  SCMP_SYS(select),
                  SCMP_SYS(_newselect),   SCMP_SYS(pselect6),      SCMP_SYS(pselect6_time64),
                  SCMP_SYS(epoll_create), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),
                  SCMP_SYS(epoll_wait),   SCMP_SYS(epoll_pwait),   SCMP_SYS(epoll_pwait2)});
    filter.allow_if(SCMP_SYS(socket), {Filter::equals(0, AF_UNIX)});
    filter.allow_if(SCMP_SYS(socketpair), {Filter::equals(0, AF_UNIX)});
    filter.allow({SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(connect),
                  SCMP_SYS(send), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recv), SCMP_SYS(recvfrom),
                  SCMP_SYS(recvmsg), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
                  SCMP_SYS(setsockopt), SCMP_SYS(shutdown)});
    // A filter sees 64 bits of a command of which the kernel heeds 32.
    constexpr std::uint64_t command = 0xffffffff;
    for (const std::uint64_t asked : std::initializer_list<std::uint64_t>{
             TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, TIOCSWINSZ, TIOCGPGRP, TIOCSPGRP, TIOCGPTN,
             FIONREAD, FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX})
        filter.allow_if(SCMP_SYS(ioctl), {Filter::bits(1, command, asked)});
}

// A file that is made below --dir belongs to the caller, root perhaps: it must not run as him.
void allow_modes(Filter& filter) {
    constexpr std::uint64_t special = S_ISUID | S_ISGID;
    constexpr std::pair<int, unsigned> calls[] = {
        {SCMP_SYS(open), 2},    {SCMP_SYS(openat), 3},  {SCMP_SYS(creat), 1},   {SCMP_SYS(mknod), 1},
        {SCMP_SYS(mknodat), 2}, {SCMP_SYS(mkdir), 1},   {SCMP_SYS(mkdirat), 2}, {SCMP_SYS(chmod), 1},
        {SCMP_SYS(fchmod), 1},  {SCMP_SYS(fchmodat), 2}};
    for (const auto& [call, mode] : calls) {
        filter.allow_if(call, {Filter::bits(mode, special, 0)});
        for (const unsigned bit : {unsigned{S_ISUID}, unsigned{S_ISGID}})
            filter.refuse_if(EPERM, call, {Filter::bits(mode, bit, bit)});
    }
}

// What hostfs does for those inside, below what is visible to it.
void allow_files(Filter& filter) {
    filter.allow({SCMP_SYS(lseek),
                  SCMP_SYS(_llseek),
                  SCMP_SYS(stat),
                  SCMP_SYS(stat64),
                  SCMP_SYS(lstat),
                  SCMP_SYS(lstat64),
                  SCMP_SYS(fstat),
                  SCMP_SYS(fstat64),
                  SCMP_SYS(newfstatat),
                  SCMP_SYS(fstatat64),
                  SCMP_SYS(statx),
                  SCMP_SYS(statfs),
                  SCMP_SYS(statfs64),
                  SCMP_SYS(fstatfs),
                  SCMP_SYS(fstatfs64),
                  SCMP_SYS(access),
                  SCMP_SYS(faccessat),
                  SCMP_SYS(faccessat2),
                  SCMP_SYS(readlink),
                  SCMP_SYS(readlinkat),
                  SCMP_SYS(getdents),
                  SCMP_SYS(getdents64),
                  SCMP_SYS(getcwd),
                  SCMP_SYS(chdir),
                  SCMP_SYS(fchdir),
                  SCMP_SYS(rmdir),
                  SCMP_SYS(unlink),
                  SCMP_SYS(unlinkat),
                  SCMP_SYS(rename),
                  SCMP_SYS(renameat),
                  SCMP_SYS(renameat2),
                  SCMP_SYS(link),
                  SCMP_SYS(linkat),
                  SCMP_SYS(symlink),
                  SCMP_SYS(symlinkat),
                  SCMP_SYS(chown),
                  SCMP_SYS(fchown),
                  SCMP_SYS(lchown),
                  SCMP_SYS(fchownat),
                  SCMP_SYS(chown32),
                  SCMP_SYS(fchown32),
                  SCMP_SYS(lchown32),
                  SCMP_SYS(utime),
                  SCMP_SYS(utimes),
                  SCMP_SYS(futimesat),
                  SCMP_SYS(utimensat),
                  SCMP_SYS(utimensat_time64),
                  SCMP_SYS(truncate),
                  SCMP_SYS(truncate64),
                  SCMP_SYS(ftruncate),
                  SCMP_SYS(ftruncate64),
                  SCMP_SYS(fallocate),
                  SCMP_SYS(fadvise64),
                  SCMP_SYS(fsync),
                  SCMP_SYS(fdatasync),
                  SCMP_SYS(sync),
                  SCMP_SYS(syncfs),
                  SCMP_SYS(flock)});
}

// A call that is not there is what programs are prepared for. The kernel of the guest answers its own
// processes' calls itself: ptrace stops them before any filter is asked (since Linux 4.8).
Filter filter_of_machine() {
    Filter filter(SCMP_ACT_ERRNO(ENOSYS));
    allow_programs_and_memory(filter);
    allow_processes(filter);
    allow_time(filter);
    allow_lines(filter);
    allow_files(filter);
    allow_modes(filter);
    return filter;
}

}  // namespace

MachineFilter make_machine_filter() {
    if (const int error = Filter::why_not_granted(); error != 0) return {UniqueFd(), std::strerror(error)};
    MachineFilter made{UniqueFd(::memfd_create("filter", MFD_CLOEXEC)), ""};
    if (!made.program) throw system_error("memfd", errno);
    if (const int error = filter_of_machine().write_to(made.program.get()); error != 0)
        throw system_error("cannot write a filter of system calls", error);
    if (::lseek(made.program.get(), 0, SEEK_SET) != 0) throw system_error("lseek", errno);
    return made;
}

}  // namespace vmdkdm
