// What a child may ask for: of AskingOpener and FileServer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmdkdm {

enum class FileRequest : std::uint64_t {
    image,     ///< the image that the user named
    beside,    ///< number of a file, name: what the one calls so
    encoding,  ///< name: a character set of names, to be loaded
};

inline constexpr std::size_t max_requested_name = 16 << 10;  ///< bytes; PATH_MAX is 4096
inline constexpr std::size_t max_requested_encoding = 40;

}  // namespace vmdkdm
