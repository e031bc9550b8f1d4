// Whether a file system says of itself that it was not cleanly unmounted, for those whose drivers keep that
// to themselves: FAT, exFAT, NTFS and HFS+. The bytes are somebody else's; what is not understood says
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace vmdkdm {

/// Reads from the start of the file system; gives less than `size` bytes where it ends or cannot be read.
using ReadAt = std::function<std::vector<std::byte>(std::uint64_t offset, std::size_t size)>;

/// Why, as in "its dirty bit is set"; empty when it is clean or does not say. `type` is libblkid's.
std::string unclean_mark(std::string_view type, const ReadAt& read);

/// Whether this is the beginning of the hiberfil.sys of a Windows that is hibernated or, with fast startup,
/// was only half shut down.
bool is_hibernation(const std::vector<std::byte>& beginning);

}  // namespace vmdkdm
