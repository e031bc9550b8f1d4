// What is to be done inside the embedded kernel: handed in as one file, read by process 1 there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vmdkdm {

/// A file or directory to copy out.
struct CopyRequest {
    std::string volume;  ///< as after the colon of `mount`; empty: the only file system
    std::string path;    ///< absolute, inside that file system
};

struct Job {
    std::string image;                       ///< its path, the same inside and outside
    std::string name;                        ///< of the device
    std::vector<std::string> image_options;  ///< of attach and mount alike: --allow-path DIR, ...
    std::vector<std::string> attach_options;
    std::vector<std::string> key_options;
    /// Directories of this machine below one that the embedded kernel covers with its own, such as /tmp.
    std::vector<std::string> show_again;
    std::vector<std::string> writable;     ///< directories whose contents must have been written at the end
    std::vector<std::string> command;      ///< empty: a shell
    std::vector<std::string> environment;  ///< of the command, "NAME=value"
    bool terminal = false;                 ///< the command gets one, else three pipes
    std::optional<CopyRequest> copy;       ///< instead of a command
};

/// One text, and back. Throws Error (format) for what is none.
std::string to_text(const Job& job);
Job parse_job(std::string_view text);

}  // namespace vmdkdm
