// Reads images in confined children: what stands in the bytes of a stranger is decoded there, and what comes
// back is checked. Their files are opened by this process, with the opener that is given.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "confine/confined_child.h"
#include "files/file_opener.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

/// Work on an image that asks for its files, and what is to be made of its answer.
struct Reading {
    std::string path;  ///< of the image, as the user named it
    FileOpener& opener;
    Powers powers = {};
    std::function<void(FileOpener&, ParentLink&, Encoder&)> read = {};  ///< in the child
    /// All of the answer, checked; `files` are those that were opened, by their numbers.
    std::function<void(Decoder&, const std::vector<FilePtr>& files)> decode = {};
    std::function<void(std::uint64_t done, std::uint64_t total)> progress = {};
};

/// Reads in a child. What the user should know of how that was done is returned: one note, or none. Throws
/// Error: what `read` threw, and when the reader died or answered what cannot be.
std::vector<std::string> read_confined(const Reading& reading);

/// An image with its disk.
struct ReadDisk {
    ImageChain chain;
    BlockMap map;
    /// Every file of the chain, once: descriptors, then extents, also those of which the disk shows nothing.
    std::vector<FilePtr> files;
    std::vector<std::string> notes;
};

/// Throws Error as read_chain and map_chain do.
ReadDisk read_disk_confined(const std::string& path, FileOpener& opener, const ChainRules& rules);

struct ReadChain {
    ImageChain chain;
    std::exception_ptr broken;  ///< the Error that the next link gives; null when the chain is whole
    std::vector<std::string> notes;
};

/// The descriptors; with `whole` those of the parents too, as far as they can be read. Throws Error as
/// read_readable_chain does.
ReadChain read_descriptors_confined(const std::string& path, FileOpener& opener, const ChainRules& rules,
                                    bool whole);

}  // namespace vmdkdm
