// Which part of a sparse file belongs to what: no two parts may share bytes, and what lies between the grains
// without belonging to anything was lost by its tables.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "files/file.h"
#include "vmdk/findings.h"

namespace vmdkdm {

enum class FilePart : std::uint8_t {
    header,
    descriptor,
    volatile_header,
    directory,
    redundant_directory,
    table,
    redundant_table,
    grain,
};

class FileUse {
  public:
    /// Neighbours that follow each other in number and place are kept as one: at most 24 bytes for each
    /// stretch of the file. `number` counts tables and grains.
    struct Stretch {
        std::uint64_t start = 0;  ///< sector of the file
        std::uint64_t number = 0;
        std::uint32_t sectors = 0;
        FilePart part = FilePart::header;
        std::uint64_t end() const { return start + sectors; }
    };

    /// Parts of this kind are all `size` long; 0 when they differ, as compressed grains do.
    void set_size(FilePart part, Sectors size) { sizes_[static_cast<std::size_t>(part)] = size.count(); }

    /// A length of 0 is nothing; one of more than 2^32 - 1 sectors is cut.
    void add(FilePart part, std::uint64_t number, Sectors start, Sectors length);

    /// All stretches by their start.
    std::span<const Stretch> sorted();

    /// A fault for every stretch that shares sectors with an earlier one.
    void report_overlaps(const File& file, FindingList& faults);

    /// A note for everything between `from` and the end of the last grain that belongs to nothing, if it has
    /// room for `smallest`: gaps that are shorter come of alignment. What follows the last grain was
    /// allocated ahead, which is no fault.
    void report_unused(const File& file, Sectors from, Sectors smallest, FindingList& notes);

  private:
    std::uint64_t size_of(FilePart part) const { return sizes_[static_cast<std::size_t>(part)]; }
    std::string name_at(const Stretch& stretch, std::uint64_t sector) const;

    std::vector<Stretch> stretches_;
    bool is_sorted_ = true;
    std::array<std::uint64_t, 8> sizes_{};
};

}  // namespace vmdkdm
