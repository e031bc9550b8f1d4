#include "compact/damage.h"

#include <algorithm>

#include "compact/copy.h"
#include "compact/rebuild.h"

namespace vmdkdm {

std::vector<DamagedRange> find_damage(const BlockMap& map, Progress& progress) {
    CopyOptions options;
    options.extract = Extract::compressed;
    options.allow_damaged = true;
    options.pass_over_unreadable = true;
    return copy_disk(map, nullptr, options, progress).damaged;
}

BlockMap with_damage(const BlockMap& map, const std::vector<DamagedRange>& damage) {
    MapRebuilder rebuilt(map);
    auto next = damage.begin();
    for (Run rest : map) {
        while (rest.length > Sectors(0)) {
            while (next != damage.end() && next->start + next->length <= rest.start) ++next;
            const Sectors end = rest.start + rest.length;
            const bool damaged = next != damage.end() && next->start <= rest.start;
            const Sectors until = next == damage.end() ? end
                                  : damaged            ? std::min(end, next->start + next->length)
                                                       : std::min(end, next->start);
            const Sectors length = until - rest.start;
            if (damaged)
                rebuilt.unreadable(length, depth_of(map, rest.content), next->reason);
            else
                rebuilt.keep({rest.start, length, rest.content});
            rest = without_first(rest, length);
        }
    }
    return std::move(rebuilt).build();
}

}  // namespace vmdkdm
