// What device-mapper would show of a plan, sector by sector, worked out anew from its tables and from the
// bytes of its exception store: for comparing with the BlockMap.
#pragma once

#include <cstring>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/concat.h"
#include "plan/plan.h"
#include "support/memory_files.h"

namespace vmdkdm::test {

/// The exceptions, in their order, as they are read from the store's file.
inline std::vector<Exception> listed_in(const ExceptionStore& store) {
    std::string bytes_of_file(static_cast<std::size_t>(store.size().count()), '\0');
    store.write([&](Bytes offset, std::span<const std::byte> bytes) {
        if (offset.count() + bytes.size() > bytes_of_file.size())
            throw std::logic_error("a store beyond its size");
        std::memcpy(bytes_of_file.data() + offset.count(), bytes.data(), bytes.size());
    });
    const MemoryFile file("/store", {}, std::move(bytes_of_file), store.size());
    return read_exception_store({&file, Bytes(0), file.size()}).value().exceptions;
}

class PlanModel {
  public:
    explicit PlanModel(const Plan& plan) : plan_(plan) {
        for (const LowerPlan& lower : plan.lowers)
            if (lower.store) stores_.push_back(chunks_of(*lower.store));
    }

    /// "/a:17", "zero" or "error".
    std::string at(Sectors sector) const { return show(plan_.disk.table, sector); }

  private:
    static std::map<std::uint64_t, std::uint64_t> chunks_of(const ExceptionStore& store) {
        std::map<std::uint64_t, std::uint64_t> chunks;
        for (const Exception& exception : listed_in(store))
            if (!chunks.emplace(exception.old_chunk, exception.new_chunk).second)
                throw std::logic_error("a chunk has two exceptions");
        return chunks;
    }

    std::string show_device(const LowerDevice& device, Sectors sector) const {
        const std::uint32_t index = std::get<PlannedDevice>(device).index;
        if (index >= plan_.lowers.size())
            return show(plan_.inner.at(index - plan_.lowers.size()).table, sector);
        const LowerPlan& lower = plan_.lowers[index];
        if (lower.store) return "the store";
        if (sector >= whole_sectors(lower.file->size())) throw std::logic_error("beyond the end of a file");
        return concat(lower.file->path(), ":", sector.count());
    }

    std::string show(const Table& table, Sectors sector) const {
        for (const TableLine& line : table.lines()) {
            if (sector < line.start || sector >= line.start + line.length) continue;
            if (const auto* linear = std::get_if<LinearTarget>(&line.target))
                return show_device(linear->device, linear->offset + (sector - line.start));
            if (const auto* snapshot = std::get_if<SnapshotTarget>(&line.target)) {
                const std::uint64_t chunk = sector.count() / snapshot->chunk.count();
                const auto found = stores_.at(0).find(chunk);
                if (found == stores_[0].end()) return show_device(snapshot->origin, sector);
                return show_device(snapshot->cow, Sectors(found->second * snapshot->chunk.count() +
                                                          sector.count() % snapshot->chunk.count()));
            }
            return std::string(target_type(line.target));
        }
        throw std::logic_error("beyond the end of a device");
    }

    const Plan& plan_;
    std::vector<std::map<std::uint64_t, std::uint64_t>> stores_;
};

}  // namespace vmdkdm::test
