// What a confined child says, as bytes, and how they are read again by somebody who does not believe them.
// Both ends are one program on one machine, so numbers are as the machine has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace vmdkdm {

/// Writes a value, into memory or piece by piece to where it is wanted.
class Encoder {
  public:
    using Sink = std::function<void(std::span<const std::byte> piece)>;

    Encoder() = default;
    /// `sink` gets the value in pieces of `piece` bytes, and from flush() the rest.
    Encoder(std::size_t piece, Sink sink) : piece_(piece), sink_(std::move(sink)) {}

    void number(std::uint64_t value) { raw(&value, sizeof value); }
    void text(std::string_view text) {
        number(text.size());
        raw(text.data(), text.size());
    }
    /// As it lies in memory: of a type without pointers and without padding.
    template <class Record>
    void record(const Record& record) {
        static_assert(std::has_unique_object_representations_v<Record>);
        raw(&record, sizeof record);
    }

    void append(const Encoder& other) { buffer_ += other.buffer_; }

    void flush();
    /// What was written into memory.
    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(buffer_)); }

  private:
    void raw(const void* data, std::size_t size) {
        buffer_.append(static_cast<const char*>(data), size);
        if (sink_ && buffer_.size() >= piece_) send_whole_pieces();
    }
    void send_whole_pieces();

    std::size_t piece_ = 0;
    Sink sink_;
    std::string buffer_;
};

/// A value is not what it can be.
class BadValue : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Reads a value. Everything throws BadValue when the bytes end too early or say what is impossible.
class Decoder {
  public:
    explicit Decoder(std::span<const std::byte> bytes) : bytes_(bytes) {}

    /// A value that comes piece by piece: `more` gives the next one, and an empty one at the end. No value of
    /// more than `most` bytes is waited for.
    using Source = std::function<std::span<const std::byte>()>;
    Decoder(Source more, std::uint64_t most) : more_(std::move(more)), to_come_(most) {}

    std::uint64_t number() { return record<std::uint64_t>(); }
    /// Up to and with `most`; `what` is for the message.
    std::uint64_t number(std::uint64_t most, std::string_view what);
    template <class Integer>
    Integer integer(std::string_view what) {
        return static_cast<Integer>(number(std::numeric_limits<Integer>::max(), what));
    }
    bool flag() { return number(1, "a flag") == 1; }
    /// The number of elements that follow, each of which takes at least `least_size` bytes: at most as many
    /// as the bytes have room for, or as may still come. They are only said to come, so nothing is reserved
    /// for them: each is added when it is there.
    std::size_t count(std::size_t least_size, std::string_view what);
    std::string text(std::size_t most);
    template <class Record>
    Record record() {
        Record record;
        copy(&record, sizeof record);
        return record;
    }

    /// All that is there and was not read yet.
    std::span<const std::byte> rest() const { return bytes_; }
    void expect_end();

  private:
    void copy(void* to, std::size_t size) {
        if (size > bytes_.size()) return copy_pieces(static_cast<std::byte*>(to), size);
        std::memcpy(to, bytes_.data(), size);
        bytes_ = bytes_.subspan(size);
    }
    void copy_pieces(std::byte* to, std::size_t size);
    bool next_piece();
    std::uint64_t most_left() const { return bytes_.size() + to_come_; }

    std::span<const std::byte> bytes_;
    Source more_;
    std::uint64_t to_come_ = 0;  // at most, after those that are there
};

}  // namespace vmdkdm
