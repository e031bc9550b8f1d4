// A file that appears under its name when it is whole, or not at all: it is written without a name where the
// file system can (O_TMPFILE), else under a temporary one beside it.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"
#include "base/units.h"

namespace vmdkdm {

class OutputFile {
  public:
    /// Throws Error (busy) when there is such a file and it is not to be replaced; `hint` then says what to
    /// do.
    OutputFile(const std::string& path, Bytes size, bool replace, mode_t mode,
               std::string hint = " (see --force)");
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    int fd() const { return fd_.get(); }
    const std::string& path() const { return path_; }  ///< absolute, with symlinks resolved

    /// Gives it its name; with `sync` after all of it is on the disk. Throws Error.
    void publish(bool sync);

  private:
    void remove_temporary() noexcept;
    void link_to(const std::string& name) const;

    std::string path_;
    std::string directory_;
    std::string temporary_;  // empty: the file has no name
    bool replace_;
    std::string hint_;
    UniqueFd fd_;
};

/// Names of temporary files begin with a dot, then that of the file, and end with this, the id of the process
/// and a number.
inline constexpr const char* temporary_mark = ".vmdk-dm-";

/// Removes the temporary files in `directory` whose processes are gone.
void remove_stale_temporaries(const std::string& directory);

}  // namespace vmdkdm
