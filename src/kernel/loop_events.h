// What udev still has to do about loop devices that were bound. libdevmapper's cookies are for mapped devices
// alone.
#pragma once

#include <libudev.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>

namespace vmdkdm {

/// Listens from its construction on, to the kernel, whose events are there when its calls return, and to
/// udevd, which passes an event on to everybody when all its rules have run. Where nobody can be listened to,
/// there is nothing to wait for. Never throws, but for want of memory.
class LoopEvents {
  public:
    LoopEvents();

    /// From here on the events of this loop device are waited for. By any thread.
    void expect(unsigned number);

    /// What the kernel has sent up to now is what is waited for.
    void begin_to_wait();
    /// Takes what udevd has passed on; whether something of it was waited for.
    bool hear();
    bool all_heard() const { return awaited_.empty(); }
    /// Nothing at all was heard of udevd. It sends to its own network namespace only.
    bool is_deaf() const { return !has_heard_; }
    /// Returns when there is more to hear, or at the end of this time.
    void wait_for_more(int milliseconds) const;

  private:
    template <auto Unref>
    struct Unreference {
        template <class Object>
        void operator()(Object* object) const {
            Unref(object);
        }
    };
    using Context = std::unique_ptr<udev, Unreference<::udev_unref>>;
    using Monitor = std::unique_ptr<udev_monitor, Unreference<::udev_monitor_unref>>;
    struct Event {
        std::optional<unsigned> loop;  // none: of another disk
        std::uint64_t number = 0;      // the kernel counts them all
    };

    static Monitor listen(udev* context, const char* to_whom);
    static std::optional<Event> next(udev_monitor* monitor);  // that has arrived

    Context context_;
    Monitor kernel_;
    Monitor udevd_;
    bool has_heard_ = false;
    std::mutex mutex_;
    std::set<unsigned> expected_;
    std::map<unsigned, std::uint64_t> awaited_;  // the last event of each loop device
};

}  // namespace vmdkdm
