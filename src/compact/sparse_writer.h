// Writes what is not zero: blocks of zeros stay holes of the file.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>

#include "compact/copy.h"

namespace vmdkdm {

/// Of those that write to the same file: one at a time does.
struct WriteTurn {
    std::mutex mutex;
    std::uint64_t written = 0;  ///< bytes
};

/// For one thread; several may write to the same target.
class SparseWriter {
  public:
    /// `turn` is shared by those that write to the same file.
    SparseWriter(const CopyTarget& target, WriteTurn& turn) : target_(target), turn_(turn) {}

    /// `bytes` at byte `start` of the target; they must stay as they are until flush(). How many of them are
    /// really written is returned. Throws Error: system, or refused when it is more than the target takes.
    std::uint64_t write(std::uint64_t start, std::span<const std::byte> bytes);
    void flush();

  private:
    void append(std::uint64_t start, std::span<const std::byte> bytes);

    void write_out();

    const CopyTarget& target_;
    WriteTurn& turn_;
    std::uint64_t start_ = 0;  // of what waits to be written
    std::span<const std::byte> waiting_;
};

}  // namespace vmdkdm
