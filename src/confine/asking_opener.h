// The FileOpener of a confined child: it asks its parent, which opens by its own rules (FileServer). Names
// that are expected are asked for ahead of time: for a thousand extents the two would else take turns a
// thousand times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "confine/confined_child.h"
#include "files/file_opener.h"

namespace vmdkdm {

class AskingOpener : public FileOpener {
  public:
    explicit AskingOpener(ParentLink& parent) : parent_(parent) {}

    FilePtr open_image(const std::string& path) override;
    FilePtr open_beside(const File& from, const std::string& name) override;
    void expect_beside(const File& from, const std::vector<std::string>& names) override;
    void need_encoding(const std::string& name) override;

  private:
    void send_ahead();
    void settle();
    FilePtr take_reply();

    ParentLink& parent_;
    // What is expected to be asked for beside the file `from_`: of `names_`, those before `asked_` were, and
    // those before `sent_` are on their way to the parent.
    std::uint64_t from_ = 0;
    std::vector<std::string> names_;
    std::size_t asked_ = 0;
    std::size_t sent_ = 0;
    std::map<std::uint64_t, FilePtr> files_;  // by their numbers
};

/// The parent's number of a file that an AskingOpener gave. Throws std::logic_error for any other.
std::uint64_t number_of(const File& file);

}  // namespace vmdkdm
