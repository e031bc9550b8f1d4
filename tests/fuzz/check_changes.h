// What holds of the changes that are read from any COW area.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "fuzz/check.h"
#include "overlay/changes.h"
#include "plan/exception_store.h"

namespace vmdkdm::test {

/// No two stored chunks share a byte, and none lies outside `area` or in the tables: else a write could
/// change what was written before.
inline void require_apart(const Changes& changes, Bytes start, Bytes size) {
    std::vector<std::pair<Sectors, Sectors>> places;
    for (const auto& run : changes.layer)
        if (const auto* stored = std::get_if<Stored>(&run.content)) {
            places.emplace_back(stored->sector, stored->sector + run.length);
            require(stored->sector >= whole_sectors(start) && to_bytes(places.back().second) <= start + size,
                    "a chunk lies within the area");
            for (Sectors at = stored->sector - whole_sectors(start);
                 at < places.back().second - whole_sectors(start); at += changes.chunk)
                require(!is_metadata(changes.chunk, at.count() / changes.chunk.count()),
                        "no chunk lies in the tables");
        }
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i)
        require(places[i - 1].second <= places[i].first, "no two chunks lie on one place");
}

/// Every unreadable run has its fault, and faults lie on the disk in their order.
inline void require_faults(const Changes& changes) {
    Sectors end;
    for (const ChunkFault& fault : changes.faults) {
        require(fault.start >= end && fault.length > Sectors(0), "faults come in order");
        end = fault.start + fault.length;
    }
    require(end <= changes.layer.capacity(), "faults lie on the disk");
    for (const auto& run : changes.layer)
        if (std::holds_alternative<Unreadable>(run.content))
            require(std::any_of(changes.faults.begin(), changes.faults.end(),
                                [&](const ChunkFault& fault) {
                                    return fault.start <= run.start &&
                                           run.start + run.length <= fault.start + fault.length;
                                }),
                    "what is unreadable is said");
}

}  // namespace vmdkdm::test
