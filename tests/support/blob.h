// The bytes of a file that a test puts together, or damages, field by field. Little-endian, as the format is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmdkdm::test {

class Blob {
  public:
    explicit Blob(std::size_t sectors) : bytes_(sectors * 512, '\0') {}

    /// `size` bytes (1 to 8) of `value` at `offset`, which may be the end.
    Blob& put(std::size_t offset, std::uint64_t value, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) set(offset + i, static_cast<char>(value >> (8 * i)));
        return *this;
    }
    Blob& put16(std::size_t offset, std::uint64_t value) { return put(offset, value, 2); }
    Blob& put32(std::size_t offset, std::uint64_t value) { return put(offset, value, 4); }
    Blob& put64(std::size_t offset, std::uint64_t value) { return put(offset, value, 8); }
    Blob& put_text(std::size_t offset, std::string_view text) {
        if (offset + text.size() > bytes_.size()) bytes_.resize(offset + text.size());
        bytes_.replace(offset, text.size(), text);
        return *this;
    }
    Blob& resize(std::size_t bytes) {
        bytes_.resize(bytes);
        return *this;
    }
    Blob& append(std::string_view text) {
        bytes_ += text;
        return *this;
    }

    const std::string& bytes() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }

  private:
    void set(std::size_t at, char byte) {
        if (at >= bytes_.size()) bytes_.resize(at + 1);
        bytes_[at] = byte;
    }
    std::string bytes_;
};

}  // namespace vmdkdm::test
