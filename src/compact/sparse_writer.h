// Writes what is not zero: blocks of zeros stay holes of the file.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>

#include "compact/copy.h"

namespace vmdkdm {

/// For one thread; several may write to the same target.
class SparseWriter {
  public:
    /// `turn` is shared by those that write to the same file.
    SparseWriter(const CopyTarget& target, std::mutex& turn) : target_(target), turn_(turn) {}

    /// `bytes` at byte `start` of the target; they must stay as they are until flush(). How many of them are
    /// really written is returned. Throws Error (system).
    std::uint64_t write(std::uint64_t start, std::span<const std::byte> bytes);
    void flush();

  private:
    void append(std::uint64_t start, std::span<const std::byte> bytes);

    void write_out();

    const CopyTarget& target_;
    std::mutex& turn_;
    std::uint64_t start_ = 0;  // of what waits to be written
    std::span<const std::byte> waiting_;
};

}  // namespace vmdkdm
