#include "map/block_map.h"

#include <algorithm>

namespace vmdkdm {
namespace {

// Whether `next` is what `first` would be `length` sectors further on.
bool continues(const Content& first, Sectors length, const Content& next) {
    if (first.index() != next.index()) return false;
    if (const auto* stored = std::get_if<Stored>(&first)) {
        const auto& after = std::get<Stored>(next);
        return stored->file == after.file && stored->sector + length == after.sector;
    }
    if (std::holds_alternative<Compressed>(first)) return false;
    return first == next;
}

}  // namespace

std::size_t BlockMap::index_of(Sectors position) const {
    const auto after = std::upper_bound(entries_.begin(), entries_.end(), position,
                                        [](Sectors at, const Entry& entry) { return at < entry.start; });
    return static_cast<std::size_t>(after - entries_.begin()) - 1;
}

std::uint32_t BlockMap::depth_of(const Content& content) const {
    struct Depth {
        const std::vector<MappedFile>& files;
        std::uint32_t operator()(const Stored& stored) const { return files[stored.file].depth; }
        std::uint32_t operator()(const Zero& zero) const { return zero.depth; }
        std::uint32_t operator()(const Compressed& compressed) const { return files[compressed.file].depth; }
        std::uint32_t operator()(const Unreadable& unreadable) const { return unreadable.depth; }
    };
    return std::visit(Depth{files_}, content);
}

FileIndex BlockMap::Builder::add_file(FilePtr file, std::uint32_t depth) {
    const auto [known, is_new] =
        known_files_.try_emplace({file->identity(), depth}, static_cast<FileIndex>(map_.files_.size()));
    if (is_new) map_.files_.push_back({std::move(file), depth});
    return known->second;
}

std::uint32_t BlockMap::Builder::add_reason(const std::string& why) {
    const auto [known, is_new] =
        known_reasons_.try_emplace(why, static_cast<std::uint32_t>(map_.reasons_.size()));
    if (is_new) map_.reasons_.push_back(why);
    return known->second;
}

void BlockMap::Builder::append(Sectors length, const Content& content) {
    if (length == Sectors(0)) return;
    const Sectors start = map_.capacity_;
    map_.capacity_ += length;
    if (!map_.entries_.empty()) {
        const Entry& last = map_.entries_.back();
        if (continues(last.content, start - last.start, content)) return;
    }
    map_.entries_.push_back({start, content});
}

}  // namespace vmdkdm
