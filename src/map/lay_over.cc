#include "map/lay_over.h"

#include <utility>

namespace vmdkdm {
namespace {

// Takes over runs, with the files and reasons that they refer to, `deeper` layers down.
template <class ContentType>
class Transfer {
  public:
    Transfer(const RunMap<ContentType>& from, std::uint32_t deeper, BlockMap::Builder& to)
        : from_(from),
          deeper_(deeper),
          to_(to),
          files_(from.files().size()),
          reasons_(from.reasons().size()) {}

    void operator()(Sectors length, Content content) {
        if (auto* stored = std::get_if<Stored>(&content)) {
            stored->file = file(stored->file);
        } else if (auto* compressed = std::get_if<Compressed>(&content)) {
            compressed->file = file(compressed->file);
        } else if (auto* zero = std::get_if<Zero>(&content)) {
            zero->depth += deeper_;
        } else if (auto* unreadable = std::get_if<Unreadable>(&content)) {
            unreadable->depth += deeper_;
            unreadable->why = reason(unreadable->why);
        }
        to_.append(length, content);
    }

  private:
    FileIndex file(FileIndex index) {
        if (!files_[index]) {
            const MappedFile& mapped = from_.files()[index];
            files_[index] = to_.add_file(mapped.file, mapped.depth + deeper_, mapped.grains);
        }
        return *files_[index];
    }
    std::uint32_t reason(std::uint32_t index) {
        if (!reasons_[index]) reasons_[index] = to_.add_reason(from_.reasons()[index]);
        return *reasons_[index];
    }

    const RunMap<ContentType>& from_;
    std::uint32_t deeper_;
    BlockMap::Builder& to_;
    std::vector<std::optional<FileIndex>> files_;
    std::vector<std::optional<std::uint32_t>> reasons_;
};

}  // namespace

BlockMap lay_over(const Layer& top, const BlockMap& disk) {
    BlockMap::Builder made;
    Transfer from_top(top, 0, made);
    Transfer from_disk(disk, 1, made);
    std::size_t index = 0;  // of the disk's run at the position, or of one before it
    for (const auto& run : top) {
        if (!std::holds_alternative<Unallocated>(run.content)) {
            from_top(run.length, of_disk(run.content));
            continue;
        }
        const Sectors end = run.start + run.length;
        for (Sectors position = run.start; position < end;) {
            while (disk[index].start + disk[index].length <= position) ++index;
            const Run below = disk[index];
            const Sectors until = std::min(end, below.start + below.length);
            from_disk(until - position, without_first(below, position - below.start).content);
            position = until;
        }
    }
    return std::move(made).build();
}

}  // namespace vmdkdm
