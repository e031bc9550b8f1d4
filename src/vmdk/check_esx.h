// What can be wrong inside the extents of ESXi's snapshots: COWD and seSparse (format reference, 13.4).
#pragma once

#include "files/file.h"
#include "vmdk/cowd.h"
#include "vmdk/findings.h"
#include "vmdk/se_sparse.h"

namespace vmdkdm {

/// Adds all that is wrong; returns also when parts cannot be read.
void check_cowd_extent(const File& file, const CowdHeader& header, Findings& findings);
void check_se_sparse_extent(const File& file, const SeSparseHeader& header, Findings& findings);

}  // namespace vmdkdm
