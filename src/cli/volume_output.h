// How volumes are printed.
#pragma once

#include "cli/output.h"
#include "stack/volume.h"

namespace vmdkdm {

/// "disk", "partition", "logicalVolume", "crypt", "array", "other"
std::string_view json_word(VolumeKind kind);

/// The tree. Paths are null when the devices are there for the moment only.
Json as_json(const Volume& volume, bool for_the_moment);

/// On stdout, one line a volume.
void print_tree(const Volume& volume);

}  // namespace vmdkdm
