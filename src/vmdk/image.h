// An image: its descriptor, and what its extents give. One link of a snapshot chain.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "files/file_opener.h"
#include "map/block_map.h"
#include "vmdk/descriptor.h"
#include "vmdk/sparse.h"

namespace vmdkdm {

/// Rules for reading what the descriptor promises.
struct ReadRules {
    bool allow_short = false;    ///< a flat file that ends early gives an unreadable tail instead of an error
    bool use_redundant = false;  ///< sparse extents are read through their redundant grain directories
};

struct Image {
    std::string path;  ///< as the user or the child wrote it; for messages
    FilePtr file;      ///< that holds the descriptor
    Descriptor descriptor;
    /// The header of the extent that the descriptor is embedded in, as it stands: its footer is not read, so
    /// that a stream without one can still be described.
    std::optional<SparseHeader> embedding;
};

/// Reads the descriptor of the image that the user named, and opens nothing else. Throws Error when the file
/// is none, TextError for what is in it.
Image read_image(const std::string& path, FileOpener& opener);

/// The same for a file that is open already.
Image read_image(const std::string& path, FilePtr file);

/// The sparse files that were read so far, over all links of a chain. Tables belong to one extent of one
/// link: a descriptor of a thousand lines that all name the same file, or a thousand descriptors, would make
/// a thousand disks of them.
class SparseFiles {
  public:
    /// Throws Error (format) when the file was taken before.
    void take(const File& file, const Image& image, const ExtentDescriptor& extent);

  private:
    struct Use {
        std::string image;
        std::size_t line;
    };
    std::map<FileIdentity, Use> uses_;
};

/// The file of an extent, under the first of its possible names that exists. An absolute name, which is one
/// of the host where the image was made, gives the file of that name beside the descriptor where it leads
/// nowhere, and a note. Throws Error.
FilePtr open_extent_file(const Image& image, const ExtentDescriptor& extent, FileOpener& opener,
                         std::vector<std::string>& notes);

/// Throws Error (format) when the extent is flat data in the file of the descriptor itself and is not clear
/// of it: only behind an embedded descriptor is there anything else.
void refuse_descriptor_as_data(const Image& image, const ExtentDescriptor& extent);

/// Why extents of this type are not read, for those that are not.
std::string_view why_unread(ExtentType type);

/// What the image itself says about its disk, every extent opened and checked against its file. What the user
/// should know but need not act on is added to `notes`.
Layer read_layer(const Image& image, std::uint32_t depth, FileOpener& opener, const ReadRules& rules,
                 std::vector<std::string>& notes, SparseFiles& sparse_files);

}  // namespace vmdkdm
