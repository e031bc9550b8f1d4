#include "kernel/loop_events.h"

#include <poll.h>

#include <charconv>
#include <string_view>
#include <utility>

namespace vmdkdm {
namespace {

// As udevd's own: a thousand loop devices send more than a socket usually holds until somebody reads from it.
constexpr int receive_buffer_bytes = 128 << 20;

constexpr std::string_view loop_prefix = "loop";

std::optional<unsigned> parse(std::string_view text) {
    unsigned number = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    return error == std::errc() && stopped == end ? std::optional(number) : std::nullopt;
}

bool is_readable(udev_monitor* monitor, int wait_ms) {
    pollfd socket = {::udev_monitor_get_fd(monitor), POLLIN, 0};
    return ::poll(&socket, 1, wait_ms) == 1 && (socket.revents & POLLIN) != 0;
}

}  // namespace

LoopEvents::LoopEvents()
    : context_(::udev_new()),
      kernel_(listen(context_.get(), "kernel")),
      udevd_(listen(context_.get(), "udev")) {}

LoopEvents::Monitor LoopEvents::listen(udev* context, const char* to_whom) {
    if (context == nullptr) return nullptr;
    Monitor monitor(::udev_monitor_new_from_netlink(context, to_whom));
    if (!monitor) return nullptr;
    // Root without CAP_NET_ADMIN gets no such room, and would wait for what it has missed.
    const bool listens =
        ::udev_monitor_set_receive_buffer_size(monitor.get(), receive_buffer_bytes) >= 0 &&
        ::udev_monitor_filter_add_match_subsystem_devtype(monitor.get(), "block", "disk") >= 0 &&
        ::udev_monitor_enable_receiving(monitor.get()) >= 0;
    return listens ? std::move(monitor) : nullptr;
}

void LoopEvents::expect(unsigned number) {
    const std::lock_guard lock(mutex_);
    expected_.insert(number);
}

void LoopEvents::begin_to_wait() {
    if (!kernel_ || !udevd_) return;
    const std::lock_guard lock(mutex_);
    while (const auto event = next(kernel_.get()))
        if (event->loop && expected_.contains(*event->loop)) awaited_[*event->loop] = event->number;
    kernel_.reset();
}

bool LoopEvents::hear() {
    bool was_awaited = false;
    while (!all_heard()) {
        const auto event = next(udevd_.get());
        if (!event) break;
        has_heard_ = true;
        const auto awaited = event->loop ? awaited_.find(*event->loop) : awaited_.end();
        if (awaited == awaited_.end() || event->number < awaited->second) continue;
        awaited_.erase(awaited);
        was_awaited = true;
    }
    return was_awaited;
}

void LoopEvents::wait_for_more(int milliseconds) const { is_readable(udevd_.get(), milliseconds); }

std::optional<LoopEvents::Event> LoopEvents::next(udev_monitor* monitor) {
    // The library also gives nothing for what others than the kernel and udevd have sent, and for what was
    // lost.
    do {
        const std::unique_ptr<udev_device, Unreference<::udev_device_unref>> device(
            ::udev_monitor_receive_device(monitor));
        if (!device) continue;
        const std::string_view name = ::udev_device_get_sysname(device.get());
        const bool is_loop = name.starts_with(loop_prefix);
        return Event{is_loop ? parse(name.substr(loop_prefix.size())) : std::nullopt,
                     ::udev_device_get_seqnum(device.get())};
    } while (is_readable(monitor, 0));
    return std::nullopt;
}

}  // namespace vmdkdm
