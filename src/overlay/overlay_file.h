// The file of an overlay: a text header that says to which image it belongs, and behind it the COW area of a
// dm-snapshot (chunk n of the COW device begins n chunks behind overlay_cow_offset). The image itself is
// never written; what the user writes goes here.
//
// Header: lines `key=value`, the first being "vmdk-dm overlay 1", the last "end"; NULs up to the COW area.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "base/units.h"
#include "files/file.h"
#include "map/block_map.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

/// Where the COW area begins in the file.
inline constexpr Bytes overlay_cow_offset{1 << 20};

/// Of a new overlay; ARCHITECTURE.md has the figures ("Overlays").
inline constexpr Sectors default_overlay_chunk{32};

/// A file that the disk under the overlay lies on, or that holds a descriptor of its chain.
struct OverlaidFile {
    std::string name;  ///< relative to the image's directory where it lies below that, else absolute
    Bytes size;
    std::int64_t modified_ns = 0;  ///< since 1970; 0 for a block device
    friend bool operator==(const OverlaidFile&, const OverlaidFile&) = default;
};

/// A link of the image's snapshot chain.
struct OverlaidLink {
    ContentId cid;
    ContentId parent_cid = no_parent;
    std::string uuid;  ///< ddb.uuid, empty where the descriptor has none
    friend bool operator==(const OverlaidLink&, const OverlaidLink&) = default;
};

/// What an overlay belongs to. Nothing in it changes over reboots, or when image and overlay are copied with
/// their times (cp -p) to another place.
struct OverlayHeader {
    Sectors capacity;                 ///< of the disk
    Sectors chunk;                    ///< a power of two, 4 KiB to 1 MiB
    Bytes limit;                      ///< of the COW area: whole chunks
    std::string image;                ///< absolute path when the overlay was made; for people
    std::string created;              ///< "2026-11-22T19:30:00Z"
    std::vector<OverlaidLink> links;  ///< the image first
    std::vector<OverlaidFile> files;  ///< descriptors as in `links`, then the files of the disk's map
    friend bool operator==(const OverlayHeader&, const OverlayHeader&) = default;
};

/// Throws Error (refused) when it does not fit before the COW area: an image of ten thousand files.
std::string print_overlay_header(const OverlayHeader& header);

/// The header at the start of `text`, which may be followed by NULs only. Throws Error (format) for whatever
/// print_overlay_header() would not have written.
OverlayHeader parse_overlay_header(std::string_view text);

/// What an overlay of this disk says of it; limit and chunk are left 0. `disk` is as it was read from the
/// image, before anything was materialised. Throws Error (system) when a file cannot be asked for its time.
OverlayHeader describe_for_overlay(const ImageChain& chain, const BlockMap& disk);

/// Throws Error (refused) that says in what the image (`now`, by describe_for_overlay) is not the one that
/// the overlay was made for. A file that was modified since but has its size is accepted with
/// `accept_touched`, which adds a note.
void check_belongs(const OverlayHeader& overlay, const OverlayHeader& now, bool accept_touched,
                   std::vector<std::string>& notes);

/// The smallest COW area that takes every chunk of a disk of this capacity.
Bytes whole_disk_limit(Sectors capacity, Sectors chunk);

/// The largest usable COW area of at most `limit` bytes: whole chunks, and not ending just where the kernel
/// would need an area of exceptions. Throws Error (usage) when not even one chunk fits.
Bytes usable_limit(Bytes limit, Sectors chunk);

/// What the kernel's own header at the start of the COW area says.
enum class CowState {
    untouched,  ///< no header yet: it was never attached
    valid,
    invalid,  ///< the kernel gave up on it when a write to the file failed; what was written before is there
};

class OverlayFile {
  public:
    /// For reading. Throws Error (format) for a file that is no overlay, has a damaged header or is cut
    /// short, (refused) for what is no regular file, (busy) while it is attached or being changed.
    static OverlayFile open(const std::string& path);
    /// The same, also while it is attached: then what is in it changes under our eyes.
    static OverlayFile open_in_use(const std::string& path);
    /// A file that is open already: nothing is locked. Throws Error (format).
    static OverlayFile read(FilePtr file);
    /// For attaching or changing it: nobody else can while any copy of the descriptor is open, and a loop
    /// device holds one.
    static OverlayFile open_writable(const std::string& path);
    /// A new one, mode 0600 and sparse, that appears whole or not at all; writable and locked as by
    /// open_writable(). `header` must be complete. Throws Error (busy) when there is a file of that name.
    static OverlayFile create(const std::string& path, const OverlayHeader& header);

    const OverlayHeader& header() const { return header_; }
    const FilePtr& file() const { return file_; }  ///< all of it; its descriptor is writable where we are
    const std::string& path() const { return file_->path(); }  ///< absolute, with symlinks resolved

    /// Throws Error (format) when there is something else than a snapshot's store of the header's chunk.
    CowState cow_state() const;

    /// `limit`, if the COW area can be made that large. Throws Error (refused) when it would become smaller.
    Bytes grown_limit(Bytes limit) const;
    /// Makes the COW area larger. Throws as grown_limit() does.
    void grow(Bytes limit);
    /// Takes back CowState::invalid. The kernel means by it that a changing origin may have been copied out
    /// too late; ours never changes, and each exception in the store was complete before it was noted.
    void make_valid();
    /// Removes the file's name, if it still is this file's.
    void remove_name() const noexcept;

  private:
    OverlayFile(FilePtr file, OverlayHeader header) : file_(std::move(file)), header_(std::move(header)) {}

    FilePtr file_;
    OverlayHeader header_;
};

}  // namespace vmdkdm
