// What of a disk is copied before it is attached: compressed grains, which the kernel cannot read where they
// are, or all of it when the user wants that.
#pragma once

#include <optional>
#include <string>

#include "cli/image_options.h"
#include "cli/output.h"
#include "compact/materialise.h"

namespace vmdkdm {

struct CopyStep {
    Extract extract = Extract::compressed;
    std::string path;  ///< in the cache
    Bytes bytes;       ///< to write, at most; 0 when it is there already
    bool reused = false;
};
/// {"file": ..., "bytes": ..., "cached": ...}, or null.
Json as_json(const std::optional<CopyStep>& step);

/// Copies what must be. The image's map then is that of the disk as it will be attached. Throws Error.
std::optional<CopyStep> materialise(OpenImage& opened, const PlanShapeOptions& shape, const Cache& cache,
                                    const MaterialiseOptions& options, Progress& progress);

/// The same without copying: the map refers to a file that need not be there.
std::optional<CopyStep> plan_materialise(OpenImage& opened, const PlanShapeOptions& shape,
                                         const std::optional<std::string>& cache_dir);

}  // namespace vmdkdm
