// The file of an overlay's COW area, in memory: a store of exceptions behind bytes of something else.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plan/exception_store.h"
#include "support/memory_files.h"

namespace vmdkdm::test {

/// The file of a store that lists these, in their order.
inline std::string store_file(Sectors chunk, const std::vector<Exception>& exceptions) {
    std::string bytes;
    StoreWriter writer(chunk, [&bytes](Bytes offset, std::span<const std::byte> piece) {
        bytes.resize(static_cast<std::size_t>(offset.count()) + piece.size());
        std::memcpy(bytes.data() + offset.count(), piece.data(), piece.size());
    });
    for (const Exception& exception : exceptions) writer.add(exception);
    writer.finish();
    return bytes;
}

/// A file of `size` bytes with the store at `start`; what it holds else is zeros.
inline FilePtr file_with_store(const std::string& path, Bytes start, Sectors chunk,
                               const std::vector<Exception>& exceptions, Bytes size) {
    std::string bytes =
        std::string(static_cast<std::size_t>(start.count()), '\0') + store_file(chunk, exceptions);
    const Bytes whole = std::max(size, Bytes(bytes.size()));
    return std::make_shared<MemoryFile>(path, FileIdentity{0xfd00, 77}, std::move(bytes), whole);
}

}  // namespace vmdkdm::test
