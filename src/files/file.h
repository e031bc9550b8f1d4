// An open file or block device that holds part of a disk, as the format code sees it. The real one is backed
// by a descriptor that stays open, so that what was checked is what is mapped; tests and fuzzers use memory.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/units.h"

namespace vmdkdm {

enum class FileKind { regular, block_device };

/// What makes two paths the same file: device and inode, or for a block device the device it stands for.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

class File {
  public:
    virtual ~File() = default;

    virtual const std::string& path()
        const = 0;  ///< absolute, with no symlink in it; bytes as the file system has them
    virtual FileKind kind() const = 0;
    virtual FileIdentity identity() const = 0;
    virtual Bytes size() const = 0;

    /// Fills `out` from `offset`. Throws Error (format) past the end of the file, (system) when a read fails.
    virtual void read_at(Bytes offset, std::span<std::byte> out) const = 0;

    /// The first stretch at or behind `offset` in which anything is stored; empty at the end of the file when
    /// there is none. What lies between is a hole, all zeros. Where that cannot be told, all is stored.
    struct Stretch {
        Bytes start;
        Bytes end;
    };
    virtual Stretch stored_from(Bytes offset) const { return {std::min(offset, size()), size()}; }

    /// The open descriptor (read-only), or -1 for a file in memory.
    virtual int fd() const = 0;
};

using FilePtr = std::shared_ptr<const File>;

}  // namespace vmdkdm
