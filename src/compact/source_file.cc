#include "compact/source_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/descriptor_status.h"
#include "base/units.h"

namespace vmdkdm {
namespace {

// A file in more pieces is read whole: its zeros are found all the same.
constexpr std::size_t max_stretches = 1 << 20;

bool may_have_holes(const File& file) {
    struct stat status = {};
    return file.kind() == FileKind::regular && file.fd() >= 0 &&
           status_of_descriptor(file.fd(), status) == 0 &&
           static_cast<std::uint64_t>(status.st_blocks) * 512 < static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

SourceFile::SourceFile(const File& file) {
    if (!may_have_holes(file)) return;
    std::uint64_t position = 0;
    while (data_.size() < max_stretches) {
        const off_t start = ::lseek(file.fd(), static_cast<off_t>(position), SEEK_DATA);
        if (start < 0 && errno == ENXIO) {
            has_holes_ = true;
            return;
        }
        const off_t end = start < 0 ? -1 : ::lseek(file.fd(), start, SEEK_HOLE);
        if (end < 0) break;
        const std::uint64_t first = static_cast<std::uint64_t>(start) / sector_size * sector_size;
        const std::uint64_t last =
            (static_cast<std::uint64_t>(end) + sector_size - 1) / sector_size * sector_size;
        if (!data_.empty() && data_.back().second >= first)
            data_.back().second = last;
        else
            data_.emplace_back(first, last);
        position = static_cast<std::uint64_t>(end);
    }
    data_.clear();  // the file system does not say
}

SourceFile::Stretch SourceFile::at(std::uint64_t offset) const {
    constexpr std::uint64_t no_end = std::numeric_limits<std::uint64_t>::max();
    if (!has_holes_) return {false, no_end};
    const auto next = std::upper_bound(data_.begin(), data_.end(), offset,
                                       [](std::uint64_t at, const auto& data) { return at < data.second; });
    if (next == data_.end()) return {true, no_end};
    if (offset < next->first) return {true, next->first};
    return {false, next->second};
}

}  // namespace vmdkdm
