#include "confine/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace vmdkdm {

std::pair<Channel, Channel> Channel::pair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw system_error("socketpair", errno);
    return {Channel(UniqueFd(ends[0])), Channel(UniqueFd(ends[1]))};
}

void Channel::send(std::span<const std::byte> bytes, int fd) const { send(bytes, {}, fd); }

void Channel::send(std::span<const std::byte> head, std::span<const std::byte> rest, int fd) const {
    std::array<struct iovec, 2> parts = {{{const_cast<std::byte*>(head.data()), head.size()},
                                          {const_cast<std::byte*>(rest.data()), rest.size()}}};
    struct msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (fd >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    // Without MSG_NOSIGNAL the death of the other end would be our own.
    while (::sendmsg(fd_.get(), &message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR) throw system_error("cannot send a message", errno);
}

std::optional<Message> Channel::receive() const {
    // Not filled with zeros: most messages are short, and each page that is touched costs a fault.
    std::array<std::byte, max_message> buffer;
    struct iovec part = {buffer.data(), buffer.size()};
    struct msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t size = 0;
    while ((size = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC)) < 0)
        if (errno != EINTR) throw system_error("cannot receive a message", errno);
    if (size == 0) return std::nullopt;
    Message received{{buffer.begin(), buffer.begin() + size}, UniqueFd()};
    if (const cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header != nullptr && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int))) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
        received.fd.reset(fd);
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) throw system_error("", EMFILE);
    return received;
}

std::optional<std::span<const std::byte>> Channel::receive_into(std::span<std::byte> buffer) const {
    ssize_t size = 0;
    while ((size = ::recv(fd_.get(), buffer.data(), buffer.size(), 0)) < 0)
        // A reset: the other end was closed with messages of ours unread. It is told once, and before what
        // that end had sent.
        if (errno != EINTR && errno != ECONNRESET) throw system_error("cannot receive a message", errno);
    if (size == 0) return std::nullopt;
    return buffer.first(static_cast<std::size_t>(size));
}

bool Channel::wait(int timeout_ms) const {
    struct pollfd poll = {fd_.get(), POLLIN, 0};
    return ::poll(&poll, 1, timeout_ms) != 0;
}

}  // namespace vmdkdm
