// Files and a FileOpener in memory, for tests and fuzzers of what stands left of the kernel.
#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "files/file_opener.h"

namespace vmdkdm::test {

/// A file with the given bytes at its start and zeros up to its size.
class MemoryFile : public File {
  public:
    MemoryFile(std::string path, FileIdentity identity, std::string content, Bytes size,
               FileKind kind = FileKind::regular)
        : path_(std::move(path)),
          identity_(identity),
          content_(std::move(content)),
          size_(size),
          kind_(kind) {}

    const std::string& path() const override { return path_; }
    FileKind kind() const override { return kind_; }
    FileIdentity identity() const override { return identity_; }
    Bytes size() const override { return size_; }
    int fd() const override { return -1; }

    void read_at(Bytes offset, std::span<std::byte> out) const override {
        if (out.empty()) return;
        if (offset > size_ || Bytes(out.size()) > size_ - offset)
            throw Error(ErrorKind::format, concat("'", path_, "' ends at byte ", size_.count()));
        const std::size_t start =
            static_cast<std::size_t>(std::min<std::uint64_t>(offset.count(), content_.size()));
        const std::size_t stored = std::min(content_.size() - start, out.size());
        const auto bytes = std::as_bytes(std::span(content_)).subspan(start, stored);
        std::copy(bytes.begin(), bytes.end(), out.begin());
        std::fill(out.begin() + static_cast<std::ptrdiff_t>(stored), out.end(), std::byte{0});
    }

  private:
    std::string path_;
    FileIdentity identity_;
    std::string content_;
    Bytes size_;
    FileKind kind_;
};

/// Holds files by absolute path. Names are taken relative to the directory of the file that names them; what
/// leads to no file is not_found.
class MemoryFiles : public FileOpener {
  public:
    FilePtr add(const std::string& path, std::string content) {
        const Bytes size(content.size());
        return insert(path, std::move(content), size, FileKind::regular);
    }
    /// With zeros up to `size`.
    FilePtr add_with_tail(const std::string& path, std::string content, Bytes size) {
        return insert(path, std::move(content), size, FileKind::regular);
    }
    FilePtr add_hole(const std::string& path, Bytes size, FileKind kind = FileKind::regular) {
        return insert(path, "", size, kind);
    }

    FilePtr open_image(const std::string& path) override { return find(path); }
    FilePtr open_beside(const File& from, const std::string& name) override {
        namespace fs = std::filesystem;
        return find((fs::path(from.path()).parent_path() / name).lexically_normal().string());
    }

  private:
    FilePtr insert(const std::string& path, std::string content, Bytes size, FileKind kind) {
        // A file that replaces another is a new one.
        const FileIdentity identity =
            kind == FileKind::regular ? FileIdentity{0xfd00, made_ + 1} : FileIdentity{0x0800 + made_, 0};
        ++made_;
        return files_[path] = std::make_shared<MemoryFile>(path, identity, std::move(content), size, kind);
    }
    FilePtr find(const std::string& path) const {
        const auto file = files_.find(path);
        if (file == files_.end())
            throw Error(ErrorKind::not_found, concat("cannot open '", path, "': No such file or directory"));
        return file->second;
    }

    std::map<std::string, FilePtr> files_;
    std::uint64_t made_ = 0;
};

}  // namespace vmdkdm::test
