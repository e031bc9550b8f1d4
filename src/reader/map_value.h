// A BlockMap on its way from a confined child: 24 bytes a run. The child hands back the map and not the plan
// that follows from it. A map is a list of runs, each of which can be held against the size of its file; and
// a planner that reads no bytes of the image needs no confinement, while a plan, with its snapshots of
// snapshots, could only be checked by planning again.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "confine/value.h"
#include "map/block_map.h"

namespace vmdkdm {

/// `number_of` says by which number the parent knows a file.
void encode_map(Encoder& to, const BlockMap& map, const std::function<std::uint64_t(const File&)>& number_of);

/// The map, of `files` (by their numbers) and `layers` layers. Everything in it is checked: each run lies on
/// the disk and in its file, which is as large as `files` says. Throws BadValue.
BlockMap decode_map(Decoder& from, const std::vector<FilePtr>& files, std::uint32_t layers);

}  // namespace vmdkdm
