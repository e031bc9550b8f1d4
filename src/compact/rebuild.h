// A disk made from another, run by run: its lists of files and reasons hold only what the new one shows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

class MapRebuilder {
  public:
    explicit MapRebuilder(const BlockMap& map)
        : map_(map), files_(map.files().size()), reasons_(map.reasons().size()) {}

    /// A run of the old disk (or a part of one) as it is.
    void keep(const Run& run) {
        Content content = run.content;
        if (auto* stored = std::get_if<Stored>(&content)) stored->file = file(stored->file);
        if (auto* compressed = std::get_if<Compressed>(&content)) compressed->file = file(compressed->file);
        if (auto* unreadable = std::get_if<Unreadable>(&content)) unreadable->why = reason(unreadable->why);
        disk_.append(run.length, content);
    }
    void unreadable(Sectors length, std::uint32_t depth, const std::string& why) {
        disk_.append(length, Unreadable{depth, disk_.add_reason({Reason::Kind::damage, why})});
    }
    /// From another file, where the disk's first sector is the file's.
    void stored(Sectors length, const FilePtr& from) {
        const FileIndex index = disk_.add_file(from, 0);
        disk_.append(length, Stored{index, disk_.length()});
    }
    BlockMap build() && { return std::move(disk_).build(); }

  private:
    FileIndex file(FileIndex index) {
        if (!files_[index]) {
            const MappedFile& mapped = map_.files()[index];
            files_[index] = disk_.add_file(mapped.file, mapped.depth, mapped.grains);
        }
        return *files_[index];
    }
    std::uint32_t reason(std::uint32_t index) {
        if (!reasons_[index]) reasons_[index] = disk_.add_reason(map_.reasons()[index]);
        return *reasons_[index];
    }

    const BlockMap& map_;
    BlockMap::Builder disk_;
    std::vector<std::optional<FileIndex>> files_;
    std::vector<std::optional<std::uint32_t>> reasons_;
};

}  // namespace vmdkdm
