// What can be wrong with a compressed extent besides its tables: the headers of its grains, and the markers
// (format reference, section 7 and 13.3). Nothing is inflated here.
#pragma once

#include <cstdint>
#include <vector>

#include "files/file.h"
#include "vmdk/file_use.h"
#include "vmdk/findings.h"
#include "vmdk/sparse.h"

namespace vmdkdm {

/// A grain that a table refers to.
struct CompressedGrain {
    std::uint32_t sector = 0;  ///< of its header, inside the file
    std::uint64_t number = 0;
};

/// Reads the header of each grain: its place on the disk, its size. Adds those that are sound to `use`.
void check_compressed_grains(const File& file, const SparseHeader& header,
                             std::vector<CompressedGrain> grains, FileUse& use, Findings& findings);

/// Walks the stream from block to block, over what `use` knows already and what it does not.
void check_markers(const File& file, const SparseHeader& header, FileUse& use, Findings& findings);

}  // namespace vmdkdm
