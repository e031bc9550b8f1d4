// The certificate of a sealed image: what its files and its disk held when it was made. JSON, described in
// docs/json.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "files/file.h"
#include "vmdk/image.h"

namespace vmdkdm {

struct SealedFile {
    std::string path;  ///< absolute, with no symlink in it
    std::string name;  ///< relative to the image's directory; a block device's is its path
    FileKind kind = FileKind::regular;
    Bytes size;
    std::string modified;  ///< empty for block devices
    std::string sha256;    ///< 64 lower-case hexadecimal digits
};

struct Certificate {
    std::string created;  ///< "2026-11-22T19:30:05Z"
    std::string tool;
    std::string image;  ///< path of the descriptor
    unsigned layer = 0;
    ReadRules read;
    bool ignore_cid = false;
    Bytes capacity;
    std::vector<SealedFile> files;
    std::string disk_sha256;
    Bytes disk_unreadable;  ///< taken for zeros in the disk's hash
};

std::string certificate_text(const Certificate& certificate);

/// A certificate is somebody's file: what is not exactly one is refused. Throws Error (format) that names the
/// key.
Certificate parse_certificate(std::string_view text);

/// Throws Error (not_found, refused, system, format).
Certificate read_certificate(const std::string& path);

/// What a file is called in the certificate of an image.
std::string sealed_name(const File& file, const std::string& image_path);

}  // namespace vmdkdm
