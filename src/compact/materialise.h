// What the kernel cannot read in place (compressed grains), or what the user wants in one piece, as a sparse
// raw file in the cache: the disk is then read from there.
#pragma once

#include <string>
#include <vector>

#include "compact/cache.h"
#include "compact/copy.h"
#include "compact/damaged_range.h"
#include "compact/progress.h"
#include "map/block_map.h"

namespace vmdkdm {

/// `map` with the extracted runs read from `file` instead, at the same place: a sparse raw image of the
/// disk's capacity. With `everything` all that is readable comes from it. With `compressed` so do zero runs
/// of up to 1 MiB between two extracted runs (they are holes there), so that one long run results.
BlockMap redirect(const BlockMap& map, const FilePtr& file, Extract extract);

struct Materialised {
    FilePtr file;
    BlockMap map;
    bool reused = false;  ///< found in the cache
    std::vector<DamagedRange> damaged;
};

/// Writes the extracted runs into the cache unless they are there already. `image_path` names the entry. With
/// damaged grains (and allow_damaged) those become unreadable runs of the returned map, and the file is not
/// kept in the cache: it lives as long as it is open. Throws Error.
Materialised materialise(const BlockMap& map, Extract extract, const Cache& cache,
                         const std::string& image_path, bool allow_damaged, Progress& progress);

/// What that would cost, without doing it.
struct MaterialiseEstimate {
    std::string path;      ///< of the file in the cache
    Bytes bytes_to_write;  ///< at most: zeros become holes; 0 when cached
    bool cached = false;
};
MaterialiseEstimate estimate_materialise(const BlockMap& map, Extract extract, const Cache& cache,
                                         const std::string& image_path);

}  // namespace vmdkdm
