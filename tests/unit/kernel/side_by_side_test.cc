#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/linux_kernel.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;

TEST_CASE("side by side, each is called once") {
    LinuxKernel kernel(UdevUse::off);
    for (const std::size_t count : {0U, 1U, 3U, 4U, 1000U}) {
        std::mutex mutex;
        std::multiset<std::size_t> called;
        kernel.side_by_side(count, [&](std::size_t number) {
            const std::lock_guard lock(mutex);
            called.insert(number);
        });
        CHECK(called.size() == count);
        CHECK(std::set<std::size_t>(called.begin(), called.end()).size() == count);
        if (count > 0) CHECK(*called.rbegin() == count - 1);
    }
}

TEST_CASE("side by side, one goes on while another waits") {
    LinuxKernel kernel(UdevUse::off);
    std::mutex mutex;
    std::condition_variable other_came;
    std::size_t inside = 0;
    bool together = false;
    kernel.side_by_side(4, [&](std::size_t) {
        std::unique_lock lock(mutex);
        together = together || ++inside == 2;
        if (together)
            other_came.notify_all();
        else
            other_came.wait_for(lock, std::chrono::seconds(10), [&] { return together; });
    });
    CHECK(together);
}

TEST_CASE("a few are called in their order") {
    LinuxKernel kernel(UdevUse::off);
    std::vector<std::size_t> order;
    kernel.side_by_side(3, [&](std::size_t number) { order.push_back(number); });
    CHECK(order == std::vector<std::size_t>{0, 1, 2});
}

TEST_CASE("once one has failed no further are begun, and the failure with the lowest number is thrown") {
    LinuxKernel kernel(UdevUse::off);
    std::mutex mutex;
    std::condition_variable failed;
    bool has_failed = false;
    std::atomic<std::size_t> called = 0;
    CHECK(failure_of([&] {
              kernel.side_by_side(100000, [&](std::size_t number) {
                  ++called;
                  std::unique_lock lock(mutex);
                  // Number 0 fails after another one has.
                  if (number == 0)
                      failed.wait_for(lock, std::chrono::seconds(10), [&] { return has_failed; });
                  has_failed = true;
                  failed.notify_all();
                  throw Error(ErrorKind::busy, concat("number ", number));
              });
          }) == Failure{ErrorKind::busy, "number 0"});
    CHECK(called < 100);
}

}  // namespace
}  // namespace vmdkdm
