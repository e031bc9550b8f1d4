// Sectors and bytes as types of their own, so that neither is taken for the other, and so that no sum or
// product of numbers that came from a file can wrap: every operation is checked and throws on overflow.
#pragma once

#include <compare>
#include <cstdint>
#include <stdexcept>

namespace vmdkdm {

/// Thrown by unit arithmetic that does not fit 64 bits. Readers turn it into an Error that says where.
class UnitOverflow : public std::overflow_error {
  public:
    UnitOverflow() : std::overflow_error("number too large") {}
};

inline std::uint64_t checked_add(std::uint64_t a, std::uint64_t b) {
    std::uint64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) throw UnitOverflow();
    return sum;
}

inline std::uint64_t checked_subtract(std::uint64_t a, std::uint64_t b) {
    if (b > a) throw UnitOverflow();
    return a - b;
}

inline std::uint64_t checked_multiply(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) throw UnitOverflow();
    return product;
}

/// A count or position in units of `Tag`; only equal units add, subtract and compare.
template <class Tag>
class Quantity {
  public:
    constexpr Quantity() = default;
    constexpr explicit Quantity(std::uint64_t count) : count_(count) {}
    constexpr std::uint64_t count() const { return count_; }

    friend Quantity operator+(Quantity a, Quantity b) { return Quantity(checked_add(a.count_, b.count_)); }
    friend Quantity operator-(Quantity a, Quantity b) {
        return Quantity(checked_subtract(a.count_, b.count_));
    }
    Quantity& operator+=(Quantity other) { return *this = *this + other; }
    friend constexpr auto operator<=>(Quantity, Quantity) = default;

  private:
    std::uint64_t count_ = 0;
};

/// 512 bytes, on every disk: the unit of the VMDK format and of device-mapper tables alike.
using Sectors = Quantity<struct SectorsTag>;
using Bytes = Quantity<struct BytesTag>;

inline constexpr std::uint64_t sector_size = 512;

/// A block device ends below 2^63 bytes, so nothing that we map can be larger.
inline constexpr Sectors max_capacity{(std::uint64_t{1} << 54) - 1};

inline Bytes to_bytes(Sectors sectors) { return Bytes(checked_multiply(sectors.count(), sector_size)); }

/// The whole sectors in `bytes`; a part-sector at the end is dropped, as a loop device drops it.
inline constexpr Sectors whole_sectors(Bytes bytes) { return Sectors(bytes.count() / sector_size); }

}  // namespace vmdkdm
