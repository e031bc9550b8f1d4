// A File that is an open descriptor.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "files/file.h"

namespace vmdkdm {

class RealFile : public File {
  public:
    RealFile(std::string path, UniqueFd fd, FileKind kind, FileIdentity identity, Bytes size)
        : path_(std::move(path)), fd_(std::move(fd)), kind_(kind), identity_(identity), size_(size) {}

    const std::string& path() const override { return path_; }
    FileKind kind() const override { return kind_; }
    FileIdentity identity() const override { return identity_; }
    Bytes size() const override { return size_; }
    int fd() const override { return fd_.get(); }
    void read_at(Bytes offset, std::span<std::byte> out) const override;
    Stretch stored_from(Bytes offset) const override;

  private:
    std::string path_;
    UniqueFd fd_;
    FileKind kind_;
    FileIdentity identity_;
    Bytes size_;
};

}  // namespace vmdkdm
