// Several threads, for what is waiting and no work: LOOP_CONFIGURE has the file written and its disk flushed
// (as seen in Linux 6.18; not in 6.1), some 4 ms each, and the flushes of all who wait become one.
#include <algorithm>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

constexpr std::size_t most_threads = 8;
// Up to here the calls come in an order that is known: tests let each of them fail, and kill us there.
constexpr std::size_t few = 3;

class Deal {
  public:
    Deal(std::size_t count, const std::function<void(std::size_t)>& body) : count_(count), body_(body) {}

    void take_until_none_is_left() noexcept {
        for (std::size_t number = 0; take(number);) {
            try {
                body_(number);
            } catch (...) {
                refuse(number, std::current_exception());
            }
        }
    }

    void throw_first() const {
        if (error_) std::rethrow_exception(error_);
    }

  private:
    bool take(std::size_t& number) {
        const std::lock_guard lock(mutex_);
        if (error_ || next_ == count_) return false;
        number = next_++;
        return true;
    }

    void refuse(std::size_t number, std::exception_ptr error) {
        const std::lock_guard lock(mutex_);
        if (error_ && failed_ < number) return;
        failed_ = number;
        error_ = std::move(error);
    }

    const std::size_t count_;
    const std::function<void(std::size_t)>& body_;
    std::mutex mutex_;
    std::size_t next_ = 0;
    std::size_t failed_ = 0;
    std::exception_ptr error_;  // of number failed_
};

}  // namespace

void LinuxKernel::side_by_side(std::size_t count, const std::function<void(std::size_t)>& body) {
    Deal deal(count, body);
    std::vector<std::thread> threads;
    // This thread is one of them, and does all alone where no other can be started.
    try {
        while (count > few && threads.size() + 1 < std::min(most_threads, count))
            threads.emplace_back([&deal] { deal.take_until_none_is_left(); });
    } catch (const std::system_error&) {
    }
    deal.take_until_none_is_left();
    for (std::thread& thread : threads) thread.join();
    deal.throw_first();
}

}  // namespace vmdkdm
