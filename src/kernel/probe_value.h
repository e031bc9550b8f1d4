// What a prober hands back of a disk or a device, checked by somebody who does not believe it.
#pragma once

#include <cstdint>
#include <optional>

#include "confine/value.h"
#include "kernel/kernel.h"

namespace vmdkdm {

/// At most so many bytes of a text that libblkid found are believed.
inline constexpr std::size_t max_probed_text = 4096;

/// By their numbers, each once. Where they lie, and whether that is on the disk, is for the caller to see.
PartitionTable decode_partitions(Decoder& from);

enum class Found : std::uint64_t { nothing, content, ambiguous, unreadable };

std::optional<VolumeContent> decode_content(Decoder& from);

}  // namespace vmdkdm
