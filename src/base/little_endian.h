// Numbers of fixed width out of bytes that came from a file, without a cast of the buffer. The caller has
// checked that the buffer is long enough; span's own bounds are asserted in debug builds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vmdkdm {

template <class Integer>
Integer load_le(std::span<const std::byte> bytes, std::size_t offset) {
    Integer value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i)
        value = static_cast<Integer>(value | static_cast<Integer>(bytes[offset + i]) << (8 * i));
    return value;
}

inline std::uint32_t load_le32(std::span<const std::byte> bytes, std::size_t offset) {
    return load_le<std::uint32_t>(bytes, offset);
}
inline std::uint64_t load_le64(std::span<const std::byte> bytes, std::size_t offset) {
    return load_le<std::uint64_t>(bytes, offset);
}

}  // namespace vmdkdm
