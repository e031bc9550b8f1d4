// Passes everything on to another FileOpener and keeps what that opens: which files an image is made of is
// what was opened for it.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "files/file_opener.h"

namespace vmdkdm {

class KeepingOpener : public FileOpener {
  public:
    explicit KeepingOpener(FileOpener& opener) : opener_(opener) {}

    FilePtr open_image(const std::string& path) override { return keep(opener_.open_image(path)); }
    FilePtr open_beside(const File& from, const std::string& name) override {
        return keep(opener_.open_beside(from, name));
    }
    void expect_beside(const File& from, const std::vector<std::string>& names) override {
        opener_.expect_beside(from, names);
    }
    void need_encoding(const std::string& name) override { opener_.need_encoding(name); }

    FilePtr keep(FilePtr file) {
        if (identities_.insert(file->identity()).second) files_.push_back(file);
        return file;
    }

    /// Each file once, in the order in which they were opened.
    const std::vector<FilePtr>& files() const { return files_; }

  private:
    FileOpener& opener_;
    std::set<FileIdentity> identities_;
    std::vector<FilePtr> files_;
};

}  // namespace vmdkdm
