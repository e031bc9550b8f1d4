#include "confine/value.h"

#include <algorithm>
#include <cstring>

#include "base/concat.h"

namespace vmdkdm {

void Encoder::send_whole_pieces() {
    std::size_t sent = 0;
    for (; buffer_.size() - sent >= piece_; sent += piece_) sink_(bytes().subspan(sent, piece_));
    buffer_.erase(0, sent);
}

void Encoder::flush() {
    if (!buffer_.empty()) sink_(bytes());
    buffer_.clear();
}

std::uint64_t Decoder::number(std::uint64_t most, std::string_view what) {
    const std::uint64_t value = number();
    if (value > most) throw BadValue(concat(what, " is ", value, ", more than ", most));
    return value;
}

std::size_t Decoder::count(std::size_t least_size, std::string_view what) {
    const std::uint64_t value = number();
    const std::uint64_t most = most_left() / least_size;
    if (value > most) throw BadValue(concat(what, " is ", value, ", more than ", most));
    return static_cast<std::size_t>(value);
}

std::string Decoder::text(std::size_t most) {
    std::uint64_t left = number(most, "the length of a text");
    if (left > most_left()) throw BadValue("a text goes on behind the end");
    std::string text;
    while (left > 0) {
        if (bytes_.empty() && !next_piece()) throw BadValue("it ends too early");
        const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes_.size()));
        text.append(reinterpret_cast<const char*>(bytes_.data()), part);
        bytes_ = bytes_.subspan(part);
        left -= part;
    }
    return text;
}

void Decoder::expect_end() {
    if (!bytes_.empty() || next_piece()) throw BadValue(concat(bytes_.size(), " bytes too many"));
}

void Decoder::copy_pieces(std::byte* to, std::size_t size) {
    while (size > 0) {
        if (bytes_.empty() && !next_piece()) throw BadValue("it ends too early");
        const std::size_t part = std::min(size, bytes_.size());
        std::memcpy(to, bytes_.data(), part);
        bytes_ = bytes_.subspan(part);
        to += part;
        size -= part;
    }
}

bool Decoder::next_piece() {
    if (!more_) return false;
    bytes_ = more_();
    if (bytes_.size() > to_come_) throw BadValue("it has no end");
    to_come_ -= bytes_.size();
    return !bytes_.empty();
}

}  // namespace vmdkdm
