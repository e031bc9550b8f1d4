// A file of few bytes and many zeros, as an input has it: its size (4 bytes), and for each piece that is not
// zeros its place in units of 64 bytes (2 bytes) and the 64 bytes. So a table of 16 KiB with two entries is a
// small input, and a mutation of a byte hits something.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/little_endian.h"
#include "base/units.h"

namespace vmdkdm::test {

class PiecedFile {
  public:
    static constexpr std::size_t piece_bytes = 64;
    static constexpr std::uint64_t largest = std::uint64_t{4} << 20;
    using Piece = std::array<std::uint8_t, piece_bytes>;

    /// Whatever the input is; of two pieces for one place the later counts.
    PiecedFile(const std::uint8_t* data, std::size_t input_bytes) {
        std::span<const std::uint8_t> left(data, input_bytes);
        if (left.size() < 4) return;
        size = Bytes(load_le32(std::as_bytes(left), 0) % (largest + 1));
        for (left = left.subspan(4); left.size() > 2;) {
            const auto place = load_le<std::uint16_t>(std::as_bytes(left), 0);
            left = left.subspan(2);
            const std::span<const std::uint8_t> bytes = left.first(std::min(left.size(), piece_bytes));
            std::copy(bytes.begin(), bytes.end(), pieces[place].begin());
            left = left.subspan(bytes.size());
        }
    }

    /// The input that says the same; pieces of zeros are left out.
    std::vector<std::uint8_t> input() const {
        std::vector<std::uint8_t> out;
        for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::uint8_t>(size.count() >> (8 * i)));
        for (const auto& [place, piece] : pieces) {
            if (piece == Piece{}) continue;
            out.push_back(static_cast<std::uint8_t>(place));
            out.push_back(static_cast<std::uint8_t>(place >> 8));
            out.insert(out.end(), piece.begin(), piece.end());
        }
        return out;
    }

    /// The bytes of the file up to its last piece; zeros follow up to its size.
    std::string content() const {
        std::string bytes;
        for (const auto& [place, piece] : pieces) {
            const std::size_t start = place * piece_bytes;
            if (start >= size.count()) break;
            const std::size_t count = std::min<std::size_t>(piece_bytes, size.count() - start);
            bytes.resize(start + count);
            std::memcpy(bytes.data() + start, piece.data(), count);
        }
        return bytes;
    }

    /// `width` bytes, little-endian; zeros where there is no piece.
    std::uint64_t load(std::size_t offset, std::size_t width) const {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < width; ++i) {
            const auto piece = pieces.find(static_cast<std::uint16_t>((offset + i) / piece_bytes));
            if (piece != pieces.end())
                value |= std::uint64_t{piece->second[(offset + i) % piece_bytes]} << (8 * i);
        }
        return value;
    }

    /// Beyond what places can say nothing happens.
    void store(std::size_t offset, std::size_t width, std::uint64_t value) {
        for (std::size_t i = 0; i < width; ++i)
            if (offset + i < largest)
                pieces[static_cast<std::uint16_t>((offset + i) / piece_bytes)][(offset + i) % piece_bytes] =
                    static_cast<std::uint8_t>(value >> (8 * i));
    }

    std::map<std::uint16_t, Piece> pieces;  // by place
    Bytes size;
};

}  // namespace vmdkdm::test
