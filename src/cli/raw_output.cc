#include "cli/raw_output.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"
#include "cli/hash_output.h"
#include "cli/printer.h"
#include "compact/output_file.h"
#include "reader/confined_reader.h"
#include "vmdk/file_name.h"

namespace vmdkdm {
namespace {

// A line that md5sum, sha1sum and sha256sum take with --check: "SHA256 (web.raw) = ...".
std::string checksum_line(const Digest& digest, const std::string& path) {
    std::string algorithm(to_string(digest.algorithm));
    for (char& c : algorithm) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::string escaped;
    for (const char c : path)
        escaped += c == '\\' ? std::string("\\\\") : c == '\n' ? std::string("\\n") : std::string(1, c);
    return concat(escaped == path ? "" : "\\", algorithm, " (", escaped, ") = ", digest.hex);
}

}  // namespace

void add_output_options(Command& command, OutputOptions& options, const std::string& what_force_does) {
    command.add_flag("--force", options.force, what_force_does);
    command.add_flag("--no-sync", options.no_sync, "Do not wait until OUT is on the disk");
}

void add_hash_option(Command& command, std::optional<std::string>& hashes) {
    command.add_option("--hash", hashes, "LIST",
                       "Hash the disk in the same pass: md5, sha1 or sha256, or several with commas");
}

std::vector<FileIdentity> files_of_chain(const ImageOptions& options, const OpenImage& opened) {
    std::vector<FileIdentity> found;
    for (const FilePtr& file : opened.files) found.push_back(file->identity());
    if (options.chain.layer == 0) return found;
    // The newer layers' files, for their identities only.
    ImageOptions whole = options;
    whole.chain.layer = 0;
    ConfinedOpener opener(open_rules(whole));
    const ReadChain read = read_descriptors_confined(whole.image, opener, chain_rules(whole), true);
    if (read.broken) std::rethrow_exception(read.broken);
    for (const Image& image : read.chain.images) {
        found.push_back(image.file->identity());
        if (image.embedding) continue;
        const auto add = [&](const std::string& name) {
            try {
                found.push_back(opener.open_beside(*image.file, name)->identity());
            } catch (const Error&) {
                // What cannot be opened now was not read either.
            }
        };
        for (const ExtentDescriptor& extent : image.descriptor.extents) {
            if (!extent.file_name.empty()) add(extent.file_name);
            if (const auto base_name = base_name_of_absolute(extent.file_name)) add(*base_name);
        }
    }
    return found;
}

void refuse_own_file(const std::string& path, const std::vector<FileIdentity>& files,
                     const std::optional<OverlayOnImage>& overlay) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return;
    const FileIdentity identity{status.st_dev, status.st_ino};
    if (overlay && overlay->file.file()->identity() == identity)
        throw Error(ErrorKind::refused, concat("'", path, "' is the overlay itself"));
    if (std::find(files.begin(), files.end(), identity) != files.end())
        throw Error(ErrorKind::refused, concat("'", path, "' is a file of the image itself"));
}

Written write_raw(const OutputOptions& output, const ImageOptions& image, const OpenImage& opened,
                  const std::optional<OverlayOnImage>& overlay, const CopyOptions& copy, Progress& progress) {
    refuse_own_file(output.path, files_of_chain(image, opened), overlay);
    OutputFile file(output.path, to_bytes(opened.map.capacity()), output.force, usual_mode);
    const CopyTarget target{file.fd(), file.path()};
    Written done{file.path(), copy_disk(opened.map, &target, copy, progress)};
    file.publish(!output.no_sync);
    return done;
}

void print_written(const Written& done, const OpenImage& opened, const std::optional<OverlayOnImage>& overlay,
                   bool json) {
    print_notes(opened.notes);
    print_damage(done.copy.damaged);
    if (json) {
        print_json({{"image", opened.image().file->path()},
                    {"overlay", path_or_null(overlay)},
                    {"output", done.output},
                    {"capacity", to_bytes(opened.map.capacity()).count()},
                    {"bytesCopied", done.copy.copied.count()},
                    {"bytesReflinked", done.copy.reflinked.count()},
                    {"bytesInflated", done.copy.inflated.count()},
                    {"bytesZero", done.copy.zero.count()},
                    {"seconds", done.seconds},
                    {"hashes", hashes_as_json(done.copy.hashes)},
                    {"damaged", damage_as_json(done.copy.damaged)}});
        return;
    }
    out() << done.output << "\n";
    for (const Digest& digest : done.copy.hashes) out() << checksum_line(digest, done.output) << "\n";
}

}  // namespace vmdkdm
