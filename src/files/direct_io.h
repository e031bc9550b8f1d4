// Whether a file can be read past the page cache. A loop device that cannot do so gives zeros, and no error,
// for what is beside a place that cannot be read (ARCHITECTURE.md, "Direct I/O").
#pragma once

#include <cstdint>
#include <map>

#include "files/file.h"

namespace vmdkdm {

/// Asks each file system once, by a read of one sector. Where that fails, for whatever reason, the answer is
/// no; so it is of a file in memory.
class DirectIo {
  public:
    bool allows(const File& file);

  private:
    std::map<std::uint64_t, bool> by_file_system_;
};

}  // namespace vmdkdm
