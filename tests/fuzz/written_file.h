// What a writer under test put into a file, as the file that is read back: nearly all of it may be a hole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "files/file.h"
#include "fuzz/check.h"

namespace vmdkdm::test {

class WrittenFile : public File {
  public:
    WrittenFile(std::string path, FileIdentity identity) : path_(std::move(path)), identity_(identity) {}

    /// What lies there already must not be written again.
    void put(Bytes offset, std::span<const std::byte> bytes) {
        if (bytes.empty()) return;
        const auto next = pieces_.lower_bound(offset.count());
        require(next == pieces_.end() || offset.count() + bytes.size() <= next->first,
                "no byte is written twice");
        require(next == pieces_.begin() ||
                    std::prev(next)->first + std::prev(next)->second.size() <= offset.count(),
                "no byte is written twice");
        written_ += Bytes(bytes.size());
        end_ = std::max(end_, offset + Bytes(bytes.size()));
        pieces_[offset.count()].assign(bytes.begin(), bytes.end());
    }
    void set_size(Bytes size) { size_ = size; }

    Bytes written() const { return written_; }
    Bytes end() const { return end_; }  ///< of the last byte that was written

    const std::string& path() const override { return path_; }
    FileKind kind() const override { return FileKind::regular; }
    FileIdentity identity() const override { return identity_; }
    Bytes size() const override { return size_; }
    int fd() const override { return -1; }

    void read_at(Bytes offset, std::span<std::byte> out) const override {
        if (offset > size_ || Bytes(out.size()) > size_ - offset)
            throw Error(ErrorKind::format, concat("'", path_, "' ends at byte ", size_.count()));
        std::fill(out.begin(), out.end(), std::byte{0});
        const std::uint64_t first = offset.count();
        const std::uint64_t last = first + out.size();
        auto piece = pieces_.upper_bound(first);
        if (piece != pieces_.begin()) --piece;
        for (; piece != pieces_.end() && piece->first < last; ++piece) {
            const std::uint64_t from = std::max(first, piece->first);
            const std::uint64_t to = std::min(last, piece->first + piece->second.size());
            if (from < to)
                std::copy_n(piece->second.begin() + static_cast<std::ptrdiff_t>(from - piece->first),
                            to - from, out.begin() + static_cast<std::ptrdiff_t>(from - first));
        }
    }

  private:
    std::string path_;
    FileIdentity identity_;
    Bytes size_;
    Bytes written_;
    Bytes end_;
    std::map<std::uint64_t, std::vector<std::byte>> pieces_;  // by offset
};

}  // namespace vmdkdm::test
