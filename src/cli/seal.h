// attach --seal and --require-seal: what the files of an image hold, before anything of it is attached.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include "cli/command.h"

#include "cli/certificate.h"
#include "cli/image_options.h"
#include "compact/hash_files.h"
#include "compact/output_file.h"

namespace vmdkdm {

struct SealOptions {
    std::optional<std::string> seal;     ///< the certificate to make
    std::optional<std::string> require;  ///< the certificate that the image must match
};
void add_seal_options(Command& command, SealOptions& options);

/// Hashes the image's open files, which are those that will be attached. Returns the certificate to make, all
/// written but without its name yet; null when none is to be made. Throws Error: changed when the image is
/// not what the required certificate says, busy when the one to make exists or a file is being written.
std::unique_ptr<OutputFile> seal(const SealOptions& options, const ImageOptions& image_options,
                                 const OpenImage& opened, Progress& progress);

/// Throws Error (changed) that names the files in which the image differs from the certificate.
void require_unchanged(const Certificate& certificate, const std::string& image_path,
                       const std::vector<FilePtr>& files, const std::vector<FileHash>& hashes);

}  // namespace vmdkdm
