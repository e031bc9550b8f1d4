#include "embedded/own_cpu.h"

#include <fcntl.h>
#include <sys/file.h>

#include <string>

#include "base/concat.h"

namespace vmdkdm {

OwnCpu::OwnCpu() {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        // A lock on the CPU's directory says that it is taken, and goes with its holder.
        UniqueFd lock(::open(concat("/sys/devices/system/cpu/cpu", cpu).c_str(), O_RDONLY | O_CLOEXEC));
        if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;
        lock_ = std::move(lock);
        number_ = cpu;
        return;
    }
}

void OwnCpu::enter() const {
    if (!number_) return;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(*number_, &own);
    ::sched_setaffinity(0, sizeof(own), &own);
}

}  // namespace vmdkdm
