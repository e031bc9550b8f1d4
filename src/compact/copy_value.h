// What a copy came to, on its way from a confined child. Of the bytes of the disk nothing can be checked:
// whoever makes an image decides what its disk reads as, and so, with a reader that was taken over, what its
// copy and its hash say.
#pragma once

#include "compact/copy.h"
#include "compact/hash_files.h"
#include "confine/value.h"

namespace vmdkdm {

void encode_result(Encoder& to, const CopyResult& result, const BlockMap& map);

/// Throws BadValue when it is not what such a copy can come to.
CopyResult decode_result(Decoder& from, const BlockMap& map, const CopyOptions& options);

void encode_hashes(Encoder& to, const FileHashes& hashes);

/// Of so many files, and of the disk unless it is null. Throws BadValue.
FileHashes decode_hashes(Decoder& from, std::size_t files, const BlockMap* disk);

}  // namespace vmdkdm
