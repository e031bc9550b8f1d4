// Between a confined child and its parent: messages that come whole or not at all.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace vmdkdm {

struct Message {
    std::vector<std::byte> bytes;
    UniqueFd fd;  ///< that came with it, if any
};

class Channel {
  public:
    /// Larger messages are not sent.
    static constexpr std::size_t max_message = 64 << 10;

    /// The two ends. Throws Error (system).
    static std::pair<Channel, Channel> pair();

    int fd() const { return fd_.get(); }
    void close() { fd_.reset(); }

    /// With a copy of the descriptor `fd`, unless that is -1. Throws Error (system) when there is nobody at
    /// the other end.
    void send(std::span<const std::byte> bytes, int fd = -1) const;
    /// One message of two parts.
    void send(std::span<const std::byte> head, std::span<const std::byte> rest, int fd = -1) const;

    /// The next message, waiting for it; nothing when the other end is closed. Throws Error (system), also
    /// when a descriptor came along for which this process has no room.
    std::optional<Message> receive() const;
    /// The same into `buffer`, of max_message bytes; descriptors that come along are dropped.
    std::optional<std::span<const std::byte>> receive_into(std::span<std::byte> buffer) const;

    /// Whether a message, or the end, is there within `timeout_ms`.
    bool wait(int timeout_ms) const;

  private:
    explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

    UniqueFd fd_;
};

}  // namespace vmdkdm
