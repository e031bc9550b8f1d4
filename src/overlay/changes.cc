#include "overlay/changes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "plan/exception_store.h"

namespace vmdkdm {
namespace {

// Which chunk of the COW device is shown, for the 256 neighbours of the disk that the kernel keeps in one
// list (drivers/md/dm-snap.c: exception_hash(), dm_insert_exception(), dm_lookup_exception(); alike since
// Linux 5.3). It matters only where a chunk is listed twice, which no kernel writes: a list is searched from
// its front, and neighbours grow together, so that now the one and now the other is found.
class ChunkGroup {
  public:
    static constexpr std::uint64_t size = 256;

    // Throws Error (format) where chunks are listed so often that sorting them would take hours.
    explicit ChunkGroup(std::span<const Exception> listed) {
        if (listed.size() > 16 * size)
            throw Error(ErrorKind::format,
                        concat("the exception store is damaged: it lists chunk ", listed.front().old_chunk,
                               " or its neighbours ", listed.size(), " times"));
        for (const Exception& exception : listed) {
            ++times_[exception.old_chunk % size];
            insert(exception);
        }
        for (auto span = spans_.rbegin(); span != spans_.rend(); ++span)
            for (std::uint64_t i = 0; i < span->count; ++i)
                shown_[(span->old_chunk + i) % size] = span->new_chunk + i;
    }

    // 0: not changed.
    std::uint64_t shown(std::uint64_t place) const { return shown_[place]; }
    bool is_listed_twice(std::uint64_t place) const { return times_[place] > 1; }

  private:
    struct Span {
        std::uint64_t old_chunk;
        std::uint64_t new_chunk;
        std::uint64_t count;
    };

    void insert(const Exception& exception) {
        auto place = spans_.begin();
        for (; place != spans_.end(); ++place) {
            if (exception.old_chunk == place->old_chunk + place->count &&
                exception.new_chunk == place->new_chunk + place->count) {
                ++place->count;
                return;
            }
            if (exception.old_chunk + 1 == place->old_chunk && exception.new_chunk + 1 == place->new_chunk) {
                --place->old_chunk;
                --place->new_chunk;
                ++place->count;
                return;
            }
            if (exception.old_chunk < place->old_chunk) break;
        }
        spans_.insert(place, {exception.old_chunk, exception.new_chunk, 1});
    }

    std::vector<Span> spans_;
    std::array<std::uint64_t, size> shown_{};
    std::array<std::uint16_t, size> times_{};
};

std::uint64_t group_of(const Exception& exception) { return exception.old_chunk / ChunkGroup::size; }

// The chunks of the COW device on which more than one chunk of the disk lies, ascending.
std::vector<std::uint64_t> shared_places(const std::vector<Exception>& listed) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    places.reserve(listed.size());
    for (const Exception& exception : listed) places.emplace_back(exception.new_chunk, exception.old_chunk);
    std::sort(places.begin(), places.end());
    std::vector<std::uint64_t> shared;
    for (std::size_t i = 1; i < places.size(); ++i)
        if (places[i].first == places[i - 1].first && places[i].second != places[i - 1].second)
            shared.push_back(places[i].first);
    return shared;
}

class LayerOfChanges {
  public:
    LayerOfChanges(const FilePtr& file, const CowArea& cow, Sectors capacity, Sectors chunk,
                   std::vector<std::uint64_t> shared)
        : file_(file),
          start_(whole_sectors(cow.start)),
          capacity_(capacity),
          chunk_(chunk),
          chunks_(cow.size.count() / to_bytes(chunk).count()),
          shared_(std::move(shared)),
          index_(layer_.add_file(file, 0)) {}

    // In the order of the disk; false for a chunk beyond the disk's end, which nobody ever asks for.
    bool add(std::uint64_t old_chunk, std::uint64_t new_chunk, bool is_listed_twice) {
        if (old_chunk > max_capacity.count() / chunk_.count()) return false;
        const Sectors position(old_chunk * chunk_.count());
        if (position >= capacity_) return false;
        layer_.append(position - layer_.length(), Unallocated{});
        const Sectors length = std::min(chunk_, capacity_ - position);
        if (const char* fault = fault_of(new_chunk)) {
            add_fault(position, length, fault);
            layer_.append(
                length, Unreadable{0, layer_.add_reason(
                                          {Reason::Kind::damage, concat("'", file_->path(), "': ", fault)})});
        } else {
            // It can be read where the kernel finds it now; after more writes that may be the other one.
            if (is_listed_twice) add_fault(position, length, "the overlay lists a changed chunk twice");
            layer_.append(length, Stored{index_, start_ + Sectors(new_chunk * chunk_.count())});
        }
        return true;
    }

    std::vector<ChunkFault> take_faults() { return std::move(faults_); }

    Layer finish() && {
        layer_.append(capacity_ - layer_.length(), Unallocated{});
        return std::move(layer_).build();
    }

  private:
    const char* fault_of(std::uint64_t new_chunk) const {
        if (is_metadata(chunk_, new_chunk)) return "a changed chunk lies in the tables of the overlay";
        if (new_chunk >= chunks_) return "a changed chunk lies beyond the end of the overlay";
        return std::binary_search(shared_.begin(), shared_.end(), new_chunk)
                   ? "several changed chunks lie on one place of the overlay"
                   : nullptr;
    }

    void add_fault(Sectors start, Sectors length, const char* why) {
        if (!faults_.empty() && faults_.back().start + faults_.back().length == start &&
            faults_.back().why == why)
            faults_.back().length += length;
        else
            faults_.push_back({start, length, why});
    }

    Layer::Builder layer_;
    FilePtr file_;
    Sectors start_;
    Sectors capacity_;
    Sectors chunk_;
    std::uint64_t chunks_;  // of the COW area
    std::vector<std::uint64_t> shared_;
    FileIndex index_;
    std::vector<ChunkFault> faults_;
};

Layer unchanged(Sectors capacity) {
    Layer::Builder layer;
    layer.append(capacity, Unallocated{});
    return std::move(layer).build();
}

}  // namespace

Changes read_changes(const FilePtr& file, Bytes start, Bytes size, Sectors capacity,
                     std::vector<std::string>& notes) {
    const CowArea cow{file.get(), start, size};
    std::optional<FoundStore> found =
        with_context(concat("'", file->path(), "'"), [&] { return read_exception_store(cow, capacity); });
    if (!found) return {unchanged(capacity), Sectors(0), true, 0, Bytes(0), {}};

    std::vector<Exception>& listed = found->exceptions;
    std::stable_sort(listed.begin(), listed.end(),
                     [](const Exception& a, const Exception& b) { return group_of(a) < group_of(b); });
    LayerOfChanges layer(file, cow, capacity, found->chunk, shared_places(listed));
    std::uint64_t count = 0;
    for (auto first = listed.begin(); first != listed.end();) {
        const std::uint64_t group = group_of(*first);
        const auto last = std::find_if(first, listed.end(),
                                       [group](const Exception& each) { return group_of(each) != group; });
        const ChunkGroup chunks =
            with_context(concat("'", file->path(), "'"), [&] { return ChunkGroup(std::span(first, last)); });
        for (std::uint64_t place = 0; place < ChunkGroup::size; ++place)
            if (const std::uint64_t shown = chunks.shown(place); shown != 0)
                count += layer.add(group * ChunkGroup::size + place, shown, chunks.is_listed_twice(place));
        first = last;
    }
    if (count != listed.size())
        notes.push_back(concat("'", file->path(), "' lists chunks twice or beyond the end of the disk"));
    if (!found->valid)
        notes.push_back(concat("'", file->path(),
                               "' is not valid any more: the kernel gave it up when a write to it, or "
                               "a read of the image below it, failed; what was written before that is "
                               "all there"));
    const std::uint64_t chunk_bytes = to_bytes(found->chunk).count();
    const std::uint64_t chunks = size.count() / chunk_bytes;
    std::vector<ChunkFault> faults = layer.take_faults();
    return {std::move(layer).finish(),
            found->chunk,
            found->valid,
            count,
            Bytes(std::min(found->next_free, chunks) * chunk_bytes),
            std::move(faults)};
}

Changes read_changes(const OverlayFile& overlay, std::vector<std::string>& notes) {
    overlay.cow_state();  // refuses what is no store of the header's chunk
    return read_changes(overlay.file(), overlay_cow_offset, overlay.header().limit, overlay.header().capacity,
                        notes);
}

}  // namespace vmdkdm
