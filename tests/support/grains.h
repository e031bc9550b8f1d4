// Compressed grains in a file in memory, and the bytes of a disk that is read back.
#pragma once

#include <libdeflate.h>

#include <string>

#include "base/little_endian.h"
#include "map/block_map.h"
#include "support/blob.h"

namespace vmdkdm::test {

inline std::string zlib_stream(const std::string& data) {
    libdeflate_compressor* compressor = ::libdeflate_alloc_compressor(6);
    std::string stream(::libdeflate_zlib_compress_bound(compressor, data.size()), '\0');
    stream.resize(
        ::libdeflate_zlib_compress(compressor, data.data(), data.size(), stream.data(), stream.size()));
    ::libdeflate_free_compressor(compressor);
    return stream;
}

/// A grain as it stands in a file: for `sector` of its extent.
inline std::string compressed_grain(std::uint64_t sector, const std::string& data) {
    const std::string stream = zlib_stream(data);
    Blob blob(0);
    blob.put64(0, sector).put32(8, stream.size()).append(stream);
    return blob.resize((blob.size() + 511) / 512 * 512).bytes();
}

/// `sectors` sectors that each say which they are.
inline std::string numbered(std::uint64_t first, std::uint64_t sectors, const std::string& tag = "sector") {
    std::string text;
    for (std::uint64_t number = first; number < first + sectors; ++number) {
        std::string one = tag + " " + std::to_string(number) + "\n";
        while (one.size() < 512) one += one;
        text += one.substr(0, 512);
    }
    return text;
}

}  // namespace vmdkdm::test
