// "This name, seen from that file": the only way in which format code gets at files.
#pragma once

#include <string>
#include <vector>

#include "files/file.h"

namespace vmdkdm {

class FileOpener {
  public:
    virtual ~FileOpener() = default;

    /// The image that the user named, by any path. Throws Error (not_found, refused, system).
    virtual FilePtr open_image(const std::string& path) = 0;

    /// The file that `from` calls `name`: relative to the directory of `from`, or absolute. Throws Error
    /// not_found when there is no such file and refused when the rules do not let it be opened.
    virtual FilePtr open_beside(const File& from, const std::string& name) = 0;

    /// That open_beside() will be called with each of these names, in this order, unless something fails. A
    /// hint only: it lets an opener that has to ask somebody ask for several at once.
    virtual void expect_beside(const File& /*from*/, const std::vector<std::string>& /*names*/) {}

    /// To be called before names are converted from this character set (iconv's name for it), which the C
    /// library loads from a file of its own.
    virtual void need_encoding(const std::string& /*name*/) {}
};

}  // namespace vmdkdm
