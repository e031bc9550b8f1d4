// The threads of a copy: workers that read, inflate and write chunks, and one thread for each hash, which
// gets the chunks in the order of the disk. The first error stops all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "compact/chunk.h"
#include "compact/copy.h"

namespace vmdkdm {

class CopyCrew {
  public:
    CopyCrew(const BlockMap& map, ChunkDealer& dealer, const CopyTarget* target, const CopyOptions& options);
    ~CopyCrew();
    CopyCrew(const CopyCrew&) = delete;
    CopyCrew& operator=(const CopyCrew&) = delete;

    /// Returns when all is done. `report` is told about ten times a second how many bytes are, and may throw,
    /// which stops the work. Throws what a thread threw.
    void run(const std::function<void(Bytes done)>& report);

    /// Copied and inflated bytes that were written, the damaged ranges in disk order, the hashes and the
    /// digest.
    CopyResult take_result();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmdkdm
