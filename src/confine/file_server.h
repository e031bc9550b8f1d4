// The parent's side of an AskingOpener: opens what a confined child asks for by the rules of a FileOpener,
// and keeps it. What the child later says of files are numbers of these.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "confine/confined_child.h"
#include "files/file_opener.h"

namespace vmdkdm {

/// The child needs a character set that is not loaded, and cannot be loaded any more.
struct EncodingNeeded {
    std::string name;  ///< letters, digits and the like, at most 40
};

class FileServer {
  public:
    /// `opener` and `loaded` must outlive it. `loaded` are the character sets that the child has.
    FileServer(FileOpener& opener, std::string image_path, const std::set<std::string>& loaded)
        : opener_(opener), image_path_(std::move(image_path)), loaded_(loaded) {}

    /// To be ConfinedTask::serve. Throws EncodingNeeded.
    Reply answer(Decoder& request);

    /// By their numbers, all opened by us.
    const std::vector<FilePtr>& files() const { return files_; }

  private:
    Reply give(FilePtr file);
    void take_encoding(const std::string& name) const;

    FileOpener& opener_;
    std::string image_path_;
    const std::set<std::string>& loaded_;
    std::vector<FilePtr> files_;
    std::map<std::pair<FileIdentity, std::string>, std::uint64_t> numbers_;
};

}  // namespace vmdkdm
