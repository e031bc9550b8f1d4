#include "map/block_map.h"

#include <optional>

namespace vmdkdm {
namespace {

// A layer's content in terms of the disk's own lists of files and reasons, which hold only what the disk
// shows of the layer; nothing when the layer leaves the say to the one below.
class Translator {
  public:
    Translator(const Layer& layer, BlockMap::Builder& disk)
        : layer_(layer), disk_(disk), files_(layer.files().size()), reasons_(layer.reasons().size()) {}

    // `skip` sectors into the run.
    std::optional<Content> operator()(const LayerContent& content, Sectors skip) {
        if (const auto* stored = std::get_if<Stored>(&content))
            return Stored{file(stored->file), stored->sector + skip};
        if (const auto* zero = std::get_if<Zero>(&content)) return *zero;
        if (const auto* compressed = std::get_if<Compressed>(&content))
            return Compressed{file(compressed->file),
                              compressed->skip + static_cast<std::uint32_t>(skip.count()),
                              compressed->sector};
        if (const auto* unreadable = std::get_if<Unreadable>(&content))
            return Unreadable{unreadable->depth, reason(unreadable->why)};
        return std::nullopt;
    }

    // The same for a layer with none below it. Most runs stay as they are.
    bool keeps(const RunEntry& entry) {
        return entry.is_stored() && file(entry.stored().file) == entry.stored().file;
    }
    RunEntry in_disk(const RunEntry& entry) {
        const Sectors start = entry.start();
        if (entry.is_stored()) {
            const Stored stored = entry.stored();
            return {start, Stored{file(stored.file), stored.sector}};
        }
        const Content content = (*this)(content_of<LayerContent>(entry), Sectors(0)).value_or(Zero{0});
        return std::visit([start](const auto& kind) { return RunEntry(start, kind); }, content);
    }

  private:
    FileIndex file(FileIndex index) {
        if (!files_[index]) {
            const MappedFile& mapped = layer_.files()[index];
            files_[index] = disk_.add_file(mapped.file, mapped.depth, mapped.grains);
        }
        return *files_[index];
    }

    std::uint32_t reason(std::uint32_t index) {
        if (!reasons_[index]) reasons_[index] = disk_.add_reason(layer_.reasons()[index]);
        return *reasons_[index];
    }

    const Layer& layer_;
    BlockMap::Builder& disk_;
    std::vector<std::optional<FileIndex>> files_;
    std::vector<std::optional<std::uint32_t>> reasons_;
};

// Walks one layer from its start to its end.
class LayerCursor {
  public:
    LayerCursor(const Layer& layer, BlockMap::Builder& disk) : layer_(&layer), translate_(layer, disk) {}

    struct Step {
        std::optional<Content> content;  // nothing: the layer below decides
        Sectors end;                     // up to where that holds
    };

    // What the layer says at `position`, which never goes back. Beyond its end a layer is zeros: VMware's
    // parents that are smaller than their child hide what lies further down.
    Step at(Sectors position, std::uint32_t depth, Sectors disk_end) {
        if (position >= layer_->capacity()) return {Zero{depth}, disk_end};
        if (run_index_ == none || position >= run_.start + run_.length) {
            ++run_index_;
            if (run_index_ == none || position >= (*layer_)[run_index_].start + (*layer_)[run_index_].length)
                run_index_ = layer_->index_of(position);
            run_ = (*layer_)[run_index_];
        }
        return {translate_(run_.content, position - run_.start),
                std::min(run_.start + run_.length, disk_end)};
    }

  private:
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    const Layer* layer_;
    Translator translate_;
    std::size_t run_index_ = none;
    BasicRun<LayerContent> run_;
};

// The runs of a sole layer become the disk's: what it never wrote is zeros, which then may go on where others
// end. Nothing else can go on that did not before.
void translate_in_place(RunEntries& entries, Translator& translate) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        if (kept == i && translate.keeps(entries[i])) {
            ++kept;
            continue;
        }
        const RunEntry entry = translate.in_disk(entries[i]);
        if (kept > 0 && entry.goes_on_with_zeros_of(entries[kept - 1])) continue;
        entries[kept++] = entry;
    }
    entries.shrink_to(kept);
}

}  // namespace

void RunEntries::make_room() {
    if ((size_ & mask) == 0) blocks_.emplace_back();
    if (size_ == small || (size_ > 0 && (size_ & mask) == 0)) blocks_.back().reserve(mask + 1);
}

Run without_first(const Run& run, Sectors length) {
    Run rest{run.start + length, run.length - length, run.content};
    if (auto* stored = std::get_if<Stored>(&rest.content)) stored->sector += length;
    if (auto* compressed = std::get_if<Compressed>(&rest.content))
        compressed->skip += static_cast<std::uint32_t>(length.count());
    return rest;
}

std::uint32_t depth_of(const BlockMap& map, const Content& content) {
    struct Depth {
        const std::vector<MappedFile>& files;
        std::uint32_t operator()(const Stored& stored) const { return files[stored.file].depth; }
        std::uint32_t operator()(const Zero& zero) const { return zero.depth; }
        std::uint32_t operator()(const Compressed& compressed) const { return files[compressed.file].depth; }
        std::uint32_t operator()(const Unreadable& unreadable) const { return unreadable.depth; }
    };
    return std::visit(Depth{map.files()}, content);
}

BlockMap flatten(std::vector<Layer> layers) {
    BlockMap::Builder disk;
    if (layers.size() == 1) {
        Layer& layer = layers.front();
        disk.map_.capacity_ = layer.capacity();
        disk.map_.entries_ = std::move(layer.entries_);
        Translator translate(layer, disk);
        translate_in_place(disk.map_.entries_, translate);
        return std::move(disk).build();
    }

    std::vector<LayerCursor> cursors;
    cursors.reserve(layers.size());
    for (const Layer& layer : layers) cursors.emplace_back(layer, disk);

    const Sectors disk_end = layers.front().capacity();
    for (Sectors position; position < disk_end;) {
        std::optional<Content> content;
        Sectors end = disk_end;
        std::uint32_t depth = 0;
        for (LayerCursor& cursor : cursors) {
            const LayerCursor::Step step = cursor.at(position, depth++, end);
            content = step.content;
            end = step.end;
            if (content) break;
        }
        disk.append(end - position, content.value_or(Zero{depth - 1}));
        position = end;
    }
    return std::move(disk).build();
}

}  // namespace vmdkdm
