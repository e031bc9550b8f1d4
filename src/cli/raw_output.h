// Writing an image to a file that may be none of its own: what compact and overlay merge-to do alike.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "cli/image_options.h"
#include "cli/overlaid_image.h"
#include "compact/copy.h"

namespace vmdkdm {

/// How the output is made, whatever is in it.
struct OutputOptions {
    std::string path;
    bool force = false;
    bool no_sync = false;
};
/// --force and --no-sync.
void add_output_options(Command& command, OutputOptions& options, const std::string& what_force_does);
/// --hash
void add_hash_option(Command& command, std::optional<std::string>& hashes);

/// Of a new file, less the umask.
inline constexpr mode_t usual_mode = 0666;

/// Every file of the chain, also those that the disk shows nothing of, and with --layer the newer ones.
std::vector<FileIdentity> files_of_chain(const ImageOptions& options, const OpenImage& opened);

/// Throws Error (refused) when `path` is one of them, or the overlay.
void refuse_own_file(const std::string& path, const std::vector<FileIdentity>& files,
                     const std::optional<OverlayOnImage>& overlay);

struct Written {
    std::string output;
    CopyResult copy;
    double seconds = 0;
};

/// The disk as a raw sparse file, which appears whole or not at all.
Written write_raw(const OutputOptions& output, const ImageOptions& image, const OpenImage& opened,
                  const std::optional<OverlayOnImage>& overlay, const CopyOptions& copy, Progress& progress);

void print_written(const Written& done, const OpenImage& opened, const std::optional<OverlayOnImage>& overlay,
                   bool json);

}  // namespace vmdkdm
