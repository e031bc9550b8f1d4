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
    Bytes bytes_to_write;  ///< at most: zeros become holes; 0 when it was found in the cache
    bool reused = false;   ///< found in the cache
    std::vector<DamagedRange> damaged;
    std::vector<std::string> notes;
};

struct MaterialiseOptions {
    bool allow_damaged = false;
    /// Whatever the cache holds is made anew.
    bool anew = false;
};

/// Writes the extracted runs into the cache unless they are there already, made from the very bytes that the
/// files have now: these are read. `image_path` names the entry. With damaged grains (and allow_damaged)
/// those become unreadable runs of the returned map, and the file is not kept in the cache: it lives as long
/// as it is open. Throws Error; refused when it takes more than the cache has room for.
Materialised materialise(const BlockMap& map, Extract extract, const Cache& cache,
                         const std::string& image_path, const MaterialiseOptions& options,
                         Progress& progress);

/// What that would cost, without doing it. Where there is an entry, the files are read to know whether it is
/// one of theirs.
struct MaterialiseEstimate {
    std::string path;      ///< of the file in the cache
    Bytes bytes_to_write;  ///< at most: zeros become holes; 0 when cached
    bool cached = false;
};
MaterialiseEstimate estimate_materialise(const BlockMap& map, Extract extract, const Cache& cache,
                                         const std::string& image_path);

}  // namespace vmdkdm
