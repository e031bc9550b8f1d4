#include "embedded/own_cpu.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <vector>

using namespace vmdkdm;

namespace {

std::size_t allowed_cpus() {
    cpu_set_t allowed;
    REQUIRE(::sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
    return static_cast<std::size_t>(CPU_COUNT(&allowed));
}

}  // namespace

TEST_CASE("no two embedded kernels share a CPU, and one more than there are has none") {
    std::vector<OwnCpu> cpus(allowed_cpus() + 1);
    std::vector<unsigned> numbers;
    for (const OwnCpu& cpu : cpus)
        if (cpu.number()) numbers.push_back(*cpu.number());
    for (std::size_t i = 1; i < numbers.size(); ++i) CHECK(numbers[i - 1] < numbers[i]);
    CHECK_FALSE(cpus.back().number());
}

TEST_CASE("a process that enters a CPU of its own runs on that alone") {
    const OwnCpu cpu;
    if (!cpu.number()) return;  // others hold them all
    const pid_t child = ::fork();
    if (child == 0) {
        cpu.enter();
        cpu_set_t now;
        const bool alone = ::sched_getaffinity(0, sizeof(now), &now) == 0 && CPU_COUNT(&now) == 1;
        ::_exit(alone && CPU_ISSET(*cpu.number(), &now) ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}
