#include "kernel/probe_value.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "base/error.h"

namespace vmdkdm {
namespace {

Partition decode_partition(Decoder& from) {
    Partition partition;
    partition.number = from.integer<unsigned>("the number of a partition");
    // libblkid counts in 512 bytes whatever the logical sector is.
    partition.start = Sectors(from.number());
    partition.size = Sectors(from.number());
    partition.extended = from.flag();
    partition.type = from.text(max_probed_text);
    partition.label = from.text(max_probed_text);
    partition.uuid = from.text(max_probed_text);
    return partition;
}

}  // namespace

PartitionTable decode_partitions(Decoder& from) {
    const bool is_unreadable = from.flag();
    std::vector<Partition> partitions;
    std::set<unsigned> numbers;
    for (std::size_t left = from.count(7 * sizeof(std::uint64_t), "the number of partitions"); left > 0;
         --left) {
        partitions.push_back(decode_partition(from));
        if (!numbers.insert(partitions.back().number).second)
            throw BadValue("two partitions have one number");
    }
    std::sort(partitions.begin(), partitions.end(),
              [](const Partition& a, const Partition& b) { return a.number < b.number; });
    return {std::move(partitions), is_unreadable ? system_error("", EIO).what() : ""};
}

std::optional<VolumeContent> decode_content(Decoder& from) {
    const auto found =
        static_cast<Found>(from.number(static_cast<std::uint64_t>(Found::unreadable), "what was found"));
    if (found == Found::nothing) return std::nullopt;
    if (found == Found::ambiguous) return VolumeContent{ambiguous_content, "", "", "", ""};
    if (found == Found::unreadable) return VolumeContent{unreadable_content, "", "", "", ""};
    VolumeContent content;
    for (std::string* const value :
         {&content.type, &content.usage, &content.label, &content.uuid, &content.version})
        *value = from.text(max_probed_text);
    return content;
}

}  // namespace vmdkdm
