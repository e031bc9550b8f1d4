// A chain of snapshots: the image that the user named, its parent, the parent's parent, down to the base.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "vmdk/image.h"

namespace vmdkdm {

/// ESXi supports 32 snapshots; a chain longer than this is a mistake or an attack.
inline constexpr std::size_t max_links = 256;

struct ChainRules {
    ReadRules read;
    std::vector<std::string> search_dirs;  ///< where parents are looked for besides the child's own directory
    bool ignore_cid = false;               ///< a parent that was written since the snapshot is accepted
    unsigned layer = 0;  ///< 0 the image itself, 1 its parent, ...: an older state of the disk
};

struct ImageChain {
    std::vector<Image> images;  ///< the chosen layer first
};

/// The descriptors of the image and of all its parents, down to the base or to the chosen layer's own base.
/// Throws Error: a parent that is missing (naming it and its child), one whose CID is another, a loop, more
/// than 256 links.
ImageChain read_chain(const std::string& path, FileOpener& opener, const ChainRules& rules,
                      std::vector<std::string>& notes);

/// As much of a chain as can be read.
struct PartialChain {
    ImageChain chain;
    std::exception_ptr broken;  ///< the Error that the next link gives; null when the chain is whole
};

/// The same for a chain that may be broken. A parent with another CID is taken, whatever the rules say.
PartialChain read_partial_chain(Image image, FileOpener& opener, const ChainRules& rules,
                                std::vector<std::string>& notes);

/// The image that the user named and its parents, as far as they can be read and, unless the rules allow it
/// otherwise, are what their children were made on. Throws Error when the image itself cannot be read.
PartialChain read_readable_chain(const std::string& path, FileOpener& opener, const ChainRules& rules,
                                 std::vector<std::string>& notes);

/// Leaves `layer` (0 the image itself) and what is below it. Throws Error (usage) when there is none such.
void drop_newer_layers(ImageChain& chain, const std::string& path, unsigned layer);

/// The disk of the whole chain. Throws Error when links share a sparse file: the tables in it are one link's.
BlockMap map_chain(const ImageChain& chain, FileOpener& opener, const ReadRules& rules,
                   std::vector<std::string>& notes);

/// The names under which a parent is looked for from its child's directory, best first: the hint as it is,
/// with `\` as
/// `/`, its base name, and its base name in the sibling directory that the hint names; a datastore's "[name]
/// dir/file" without the name. Below each of `search_dirs` the same (format reference, 11.2).
std::vector<std::string> parent_candidates(const std::string& hint,
                                           const std::vector<std::string>& search_dirs);

}  // namespace vmdkdm
