// What can be wrong inside a hosted sparse extent (KDMV): bounds, shared sectors, the redundant copies, and
// of a compressed one the headers of the grains and the markers (check_stream.h). Format reference, 13.2
// and 13.3.
#pragma once

#include "files/file.h"
#include "vmdk/findings.h"
#include "vmdk/sparse.h"

namespace vmdkdm {

/// Adds all that is wrong; returns also when parts cannot be read.
void check_sparse_extent(const File& file, const SparseHeader& header, Findings& findings);

}  // namespace vmdkdm
