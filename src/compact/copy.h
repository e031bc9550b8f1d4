// The copying itself: reads (or inflates) what is wanted of a disk on all cores, writes it to a sparse file
// or a device, hashes the whole disk in the same pass. Memory is bounded whatever the image says.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compact/content_digest.h"
#include "compact/damaged_range.h"
#include "compact/digest.h"
#include "compact/progress.h"
#include "map/block_map.h"

namespace vmdkdm {

/// Which runs of a disk.
enum class Extract { compressed, everything };

/// What is written to: byte n of the disk becomes byte n, unless `place` says otherwise. A file must be long
/// enough and hold nothing but a hole; what a device holds does not matter.
struct CopyTarget {
    int fd = -1;
    std::string path;  ///< for messages
    bool is_device = false;
    std::string hint = "";  ///< " (see --option)" that finds another place, for messages
    /// Of a file that is no image of the disk: where a sector goes. A run that is stored or compressed stays
    /// in one piece, and moves by a multiple of 64 KiB.
    std::function<Sectors(Sectors)> place = {};
    /// Of a file: how much may be written to it, zeros not counted, and the text of the error (refused) when
    /// that is too little. Then nothing is refused beforehand, as nobody knows how much is zeros.
    std::optional<Bytes> most = std::nullopt;
    std::string too_much = "";

    Bytes offset_of(Sectors sector) const { return to_bytes(place ? place(sector) : sector); }
};

struct CopyOptions {
    Extract extract = Extract::everything;
    /// Unreadable runs and grains that do not inflate become zeros and are listed; else they are refused.
    bool allow_damaged = false;
    /// Unreadable runs are neither refused nor listed.
    bool pass_over_unreadable = false;
    std::vector<HashAlgorithm> hashes;  ///< with `everything` only
    /// Key of the digest of what is read from the image's files. Then nothing is reflinked, as that reads
    /// nothing.
    std::optional<ContentKey> content;
    /// False, for the digest alone: compressed grains are not inflated. Needs no target and no hashes.
    bool inflates = true;
};

/// The four add up to the bytes that were extracted, with `everything` to the capacity.
struct CopyResult {
    Bytes copied;
    Bytes reflinked;  ///< blocks that the file system shares with the image's files
    Bytes inflated;
    Bytes zero;  ///< left as holes, or zeroed on a device
    std::vector<DamagedRange> damaged;
    std::vector<Digest> hashes;
    std::string content;  ///< the digest in hexadecimal, where there was a key for it
};

/// In a confined child, as compressed grains are inflated. Without a target the disk is only read. Throws
/// Error: system when reading or writing fails or the file system has too little room, format or refused for
/// what cannot be read (see allow_damaged).
CopyResult copy_disk(const BlockMap& map, const CopyTarget* target, const CopyOptions& options,
                     Progress& progress);

}  // namespace vmdkdm
