// The FileOpener of a confined child: it asks its parent, which opens by its own rules (FileServer).
#pragma once

#include <map>
#include <string>

#include "confine/confined_child.h"
#include "files/file_opener.h"

namespace vmdkdm {

class AskingOpener : public FileOpener {
  public:
    explicit AskingOpener(ParentLink& parent) : parent_(parent) {}

    FilePtr open_image(const std::string& path) override;
    FilePtr open_beside(const File& from, const std::string& name) override;
    void need_encoding(const std::string& name) override;

  private:
    FilePtr ask(const Encoder& request);

    ParentLink& parent_;
    std::map<std::uint64_t, FilePtr> files_;  // by their numbers
};

/// The parent's number of a file that an AskingOpener gave. Throws std::logic_error for any other.
std::uint64_t number_of(const File& file);

}  // namespace vmdkdm
