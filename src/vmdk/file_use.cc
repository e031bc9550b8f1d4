#include "vmdk/file_use.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/concat.h"

namespace vmdkdm {

void FileUse::add(FilePart part, std::uint64_t number, Sectors start, Sectors length) {
    constexpr std::uint64_t longest = std::numeric_limits<std::uint32_t>::max();
    if (length == Sectors(0)) return;
    const auto sectors = static_cast<std::uint32_t>(std::min(length.count(), longest));
    if (!stretches_.empty()) {
        Stretch& last = stretches_.back();
        const std::uint64_t size = size_of(part);
        const bool follows = last.part == part && last.end() == start.count() && size != 0 &&
                             last.sectors % size == 0 && last.number + last.sectors / size == number;
        if (follows && std::uint64_t{last.sectors} + sectors <= longest) {
            last.sectors += sectors;
            return;
        }
        is_sorted_ = is_sorted_ && last.start <= start.count();
    }
    stretches_.push_back({start.count(), number, sectors, part});
}

std::span<const FileUse::Stretch> FileUse::sorted() {
    if (!is_sorted_)
        std::sort(stretches_.begin(), stretches_.end(),
                  [](const Stretch& a, const Stretch& b) { return a.start < b.start; });
    is_sorted_ = true;
    return stretches_;
}

void FileUse::report_overlaps(const File& file, FindingList& faults) {
    const Stretch* farthest = nullptr;
    for (const Stretch& stretch : sorted()) {
        if (farthest != nullptr && stretch.start < farthest->end())
            faults.add(FindingKind::overlap, file.path(), to_bytes(Sectors(stretch.start)),
                       [&, this, farthest] {
                           const Sectors shared(std::min(stretch.end(), farthest->end()) - stretch.start);
                           return concat(to_bytes(shared).count(), " bytes belong to ",
                                         name_at(*farthest, stretch.start), " and to ",
                                         name_at(stretch, stretch.start));
                       });
        if (farthest == nullptr || stretch.end() > farthest->end()) farthest = &stretch;
    }
}

void FileUse::report_unused(const File& file, Sectors from, Sectors smallest, FindingList& notes) {
    std::uint64_t used_up_to = from.count();
    std::uint64_t last_grain = 0;
    for (const Stretch& stretch : sorted())
        if (stretch.part == FilePart::grain) last_grain = stretch.start;
    for (const Stretch& stretch : sorted()) {
        if (stretch.start > last_grain) break;
        if (stretch.start > used_up_to && stretch.start - used_up_to >= smallest.count())
            notes.add(FindingKind::unused, file.path(), to_bytes(Sectors(used_up_to)), [&] {
                return concat(to_bytes(Sectors(stretch.start - used_up_to)).count(),
                              " bytes between the grains belong to no table: orphaned grains, if anything");
            });
        used_up_to = std::max(used_up_to, stretch.end());
    }
}

std::string FileUse::name_at(const Stretch& stretch, std::uint64_t sector) const {
    const std::uint64_t size = size_of(stretch.part);
    const std::uint64_t number = stretch.number + (size == 0 ? 0 : (sector - stretch.start) / size);
    switch (stretch.part) {
        case FilePart::header:
            return "the header";
        case FilePart::descriptor:
            return "the descriptor";
        case FilePart::volatile_header:
            return "the volatile header";
        case FilePart::directory:
            return "the grain directory";
        case FilePart::redundant_directory:
            return "the redundant grain directory";
        case FilePart::table:
            return concat("grain table ", number);
        case FilePart::redundant_table:
            return concat("redundant grain table ", number);
        case FilePart::grain:
            return concat("grain ", number);
    }
    return "?";
}

}  // namespace vmdkdm
