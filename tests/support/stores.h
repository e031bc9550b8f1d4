// The file of an overlay's COW area, in memory: a store of exceptions behind bytes of something else.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "plan/exception_store.h"
#include "support/memory_files.h"

namespace vmdkdm::test {

/// A file of `size` bytes with the store at `start`; what it holds else is zeros.
inline FilePtr file_with_store(const std::string& path, Bytes start, Sectors chunk,
                               const std::vector<Exception>& exceptions, Bytes size) {
    const ExceptionStore store(chunk, ExceptionStore::span_of(chunk, exceptions.size()), exceptions);
    std::string bytes(static_cast<std::size_t>((start + store.size()).count()), '\0');
    store.write([&](Bytes offset, std::span<const std::byte> piece) {
        std::memcpy(bytes.data() + (start + offset).count(), piece.data(), piece.size());
    });
    const Bytes whole = std::max(size, Bytes(bytes.size()));
    return std::make_shared<MemoryFile>(path, FileIdentity{0xfd00, 77}, std::move(bytes), whole);
}

}  // namespace vmdkdm::test
