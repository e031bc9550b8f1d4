// What shell, run and copy-out share: from an image and options to a sandbox and a job in it.
#pragma once

#include <optional>
#include <string>
#include <vector>
#include "cli/command.h"

#include "base/unique_fd.h"
#include "cli/image_options.h"
#include "embedded/job.h"
#include "embedded/machine.h"

namespace vmdkdm {

struct EmbeddedOptions {
    ImageOptions image;
    std::optional<std::string> name;
    std::uint32_t sector_size = 0;
    std::optional<std::string> key_file;
    std::optional<std::string> cache_dir;
    std::optional<std::string> cache_limit;
    std::vector<std::string> directories;            ///< --dir
    std::vector<std::string> read_only_directories;  ///< --dir-ro
    std::string memory = "512M";
    std::optional<unsigned> timeout_s;
    bool console = false;
};
/// All but the image itself, which copy-out takes with a colon behind.
void add_embedded_options(Command& command, EmbeddedOptions& options);
/// --dir and --dir-ro, for what runs programs.
void add_directory_options(Command& command, EmbeddedOptions& options);

/// Ready to be run once its job has been completed and given over.
class PreparedMachine {
  public:
    /// Opens the image by the usual rules, so that what cannot be attached is refused at once. Throws Error.
    explicit PreparedMachine(const EmbeddedOptions& options);

    Job job;
    Machine machine;

    /// The exit status of what runs inside. Throws Error.
    int run();

  private:
    std::vector<UniqueFd> held_;
};

}  // namespace vmdkdm
