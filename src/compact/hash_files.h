// The SHA-256 of files, and of the disk that they make, all at once: one thread hashes one of them, the
// largest first, on as many cores as there are.
#pragma once

#include <time.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "compact/progress.h"
#include "files/file.h"
#include "map/block_map.h"

namespace vmdkdm {

struct FileHash {
    std::string sha256;                ///< in lower-case hexadecimal; empty when there is an error
    std::optional<timespec> modified;  ///< none for block devices
    std::optional<Error> error;        ///< it cannot be read, or it was written while it was read
};

struct DiskHash {
    std::string sha256;  ///< empty when there is an error
    Bytes unreadable;    ///< taken for zeros
    std::optional<Error> error;
};

struct FileHashes {
    std::vector<FileHash> files;  ///< in the order of the files
    std::optional<DiskHash> disk;
};

/// What cannot be read is told file by file and keeps none of the others from being hashed. `disk` may be
/// null. The disk is read by itself even though its files are read too (the page cache has them then), unless
/// it is one of the files from end to end. Throws what `progress` throws.
FileHashes hash_files(const std::vector<FilePtr>& files, const BlockMap* disk, Progress& progress);

}  // namespace vmdkdm
