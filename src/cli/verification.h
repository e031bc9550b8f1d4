// Whether what a certificate names is still what it was: of verify and detach --verify.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/certificate.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "compact/progress.h"

namespace vmdkdm {

enum class SealState { unchanged, changed, missing, unreadable };

/// A file, or the disk.
struct Verified {
    SealState state = SealState::unchanged;
    std::string path;           ///< where it was looked for; of the disk, the image
    std::optional<Bytes> size;  ///< that it has now, as far as known
    std::string sha256;         ///< that it has now; empty when its size differs already
    std::string why;            ///< it cannot be read
    bool is_secret =
        false;  ///< size and hash are not told unless they are as sealed: it may not be the image's
};

struct Verification {
    std::vector<Verified> files;  ///< in the order of the certificate
    std::optional<Verified> disk;
    std::size_t changed() const;  ///< how many are not as they were
};

struct VerifyOptions {
    std::string image;   ///< where the image is; the other files are looked for from there unless it is empty
    bool deep = false;   ///< the disk too
    ImageOptions rules;  ///< where its files may lie
};

/// Opens and hashes everything; never fails because of one file. Throws what `progress` throws.
Verification verify(const Certificate& certificate, const VerifyOptions& options, Progress& progress);

/// One line each, as of sha256sum --check, and on standard error how many have changed.
void print_as_text(const Certificate& certificate, const std::string& certificate_path,
                   const Verification& verification);

Json as_json(const Certificate& certificate, const std::string& certificate_path,
             const Verification& verification);

}  // namespace vmdkdm
