// What is known of a file that a disk is copied from: where it has holes, and whether its blocks can be
// shared with the output.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "files/file.h"

namespace vmdkdm {

class SourceFile {
  public:
    /// Asks the file system for the holes, of files that have some.
    explicit SourceFile(const File& file);

    struct Stretch {
        bool hole = false;
        std::uint64_t end = 0;  ///< byte of the file up to where that holds
    };
    /// Holes are told in whole sectors.
    Stretch at(std::uint64_t offset) const;

    bool shared = false;  ///< its blocks are in the output already, where alignment allows

  private:
    // Data, rounded outwards to sectors: [first, second). Empty and !has_holes_: all of it.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> data_;
    bool has_holes_ = false;
};

}  // namespace vmdkdm
