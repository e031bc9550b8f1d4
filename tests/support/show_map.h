// A layer or a disk as text, one line a run, in sectors: "0+8 data /vm/a@16".
#pragma once

#include <string>

#include "base/concat.h"
#include "map/block_map.h"

namespace vmdkdm::test {

template <class ContentType>
std::string show(const RunMap<ContentType>& map) {
    struct Show {
        const RunMap<ContentType>& map;
        std::string place(FileIndex file, Sectors sector) const {
            const MappedFile& mapped = map.files()[file];
            return concat(mapped.file->path(), "@", sector.count(),
                          mapped.depth == 0 ? "" : concat(" depth ", mapped.depth));
        }
        static std::string depth(std::uint32_t number) {
            return number == 0 ? "" : concat(" depth ", number);
        }
        std::string operator()(const Stored& stored) const {
            return concat("data ", place(stored.file, stored.sector));
        }
        std::string operator()(const Zero& zero) const { return "zero" + depth(zero.depth); }
        std::string operator()(const Compressed& compressed) const {
            return concat("compressed ", place(compressed.file, compressed.sector),
                          compressed.skip == 0 ? "" : concat(" skip ", compressed.skip));
        }
        std::string operator()(const Unreadable& unreadable) const {
            return concat("unreadable", depth(unreadable.depth), ": ", map.reasons()[unreadable.why].text);
        }
        std::string operator()(const Unallocated&) const { return "unallocated"; }
    };
    std::string text;
    for (const auto& run : map)
        text +=
            concat(run.start.count(), "+", run.length.count(), " ", std::visit(Show{map}, run.content), "\n");
    return text;
}

}  // namespace vmdkdm::test
