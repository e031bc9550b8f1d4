// A file that attach would make. Nothing can be read from it.
#pragma once

#include <string>

#include "base/concat.h"
#include "base/error.h"
#include "files/file.h"

namespace vmdkdm {

class PlannedFile : public File {
  public:
    PlannedFile(std::string path, Bytes size) : path_(std::move(path)), size_(size) {}

    const std::string& path() const override { return path_; }
    FileKind kind() const override { return FileKind::regular; }
    FileIdentity identity() const override { return {}; }
    Bytes size() const override { return size_; }
    int fd() const override { return -1; }
    void read_at(Bytes, std::span<std::byte>) const override {
        throw Error(ErrorKind::not_found, concat("'", path_, "' has not been made yet"));
    }

  private:
    std::string path_;
    Bytes size_;
};

}  // namespace vmdkdm
