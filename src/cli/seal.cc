#include "cli/seal.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>

#include "base/concat.h"
#include "base/error.h"
#include "cli/output.h"
#include "version.h"

namespace vmdkdm {
namespace {

constexpr mode_t certificate_mode = S_IRUSR | S_IRGRP | S_IROTH;
constexpr const char* certificate_hint = ": a certificate never replaces a file (choose another name)";
constexpr std::size_t most_named = 20;  // of the files that have changed

// "2026-11-22T19:30:05Z"
std::string utc_time(std::time_t seconds) {
    struct tm parts = {};
    ::gmtime_r(&seconds, &parts);
    char text[64];
    return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

// "2026-11-22T19:30:05.012345678Z"
std::string utc_time(const timespec& time) {
    std::string text = utc_time(time.tv_sec);
    const std::string fraction = std::to_string(1'000'000'000 + time.tv_nsec);
    text.insert(text.size() - 1, "." + fraction.substr(1));
    return text;
}

void refuse_unread(const FileHashes& hashes) {
    for (const FileHash& hash : hashes.files)
        if (hash.error) throw *hash.error;
    if (hashes.disk && hashes.disk->error) throw *hashes.disk->error;
}

Certificate certify(const ImageOptions& options, const OpenImage& opened, const FileHashes& hashes) {
    Certificate certificate;
    certificate.created = utc_time(std::time(nullptr));
    certificate.tool = "vmdk-dm " VMDK_DM_VERSION;
    certificate.image = opened.image().file->path();
    certificate.layer = options.chain.layer;
    certificate.read = options.chain.read;
    certificate.ignore_cid = options.chain.ignore_cid;
    certificate.capacity = to_bytes(opened.map.capacity());
    certificate.disk_sha256 = hashes.disk->sha256;
    certificate.disk_unreadable = hashes.disk->unreadable;
    for (std::size_t i = 0; i < opened.files.size(); ++i) {
        const File& file = *opened.files[i];
        const FileHash& hash = hashes.files[i];
        certificate.files.push_back({file.path(), sealed_name(file, certificate.image), file.kind(),
                                     file.size(), hash.modified ? utc_time(*hash.modified) : "",
                                     hash.sha256});
    }
    return certificate;
}

std::unique_ptr<OutputFile> new_certificate(const std::string& path) {
    return std::make_unique<OutputFile>(path, Bytes(0), false, certificate_mode, certificate_hint);
}

std::unique_ptr<OutputFile> write_certificate(const std::string& path, const Certificate& certificate) {
    std::unique_ptr<OutputFile> file = new_certificate(path);
    const std::string text = certificate_text(certificate);
    for (std::size_t written = 0; written < text.size();) {
        const ssize_t count = ::write(file->fd(), text.data() + written, text.size() - written);
        if (count < 0 && errno != EINTR) throw system_error(concat("cannot write '", path, "'"), errno);
        if (count > 0) written += static_cast<std::size_t>(count);
    }
    if (::fsync(file->fd()) != 0) throw system_error(concat("cannot write '", path, "' to the disk"), errno);
    return file;
}

std::string joined(const std::vector<std::string>& differences) {
    std::string text;
    for (std::size_t i = 0; i < std::min(differences.size(), most_named); ++i)
        text += concat(i == 0 ? "" : ", ", differences[i]);
    if (differences.size() > most_named)
        text += concat(", and ", differences.size() - most_named, " more like these");
    return text;
}

}  // namespace

void add_seal_options(Command& command, SealOptions& options) {
    command.add_option("--seal", options.seal, "CERT",
                       "Make CERT: the SHA-256 of every file of the image and of its disk, as they are now");
    command.add_option("--require-seal", options.require, "CERT",
                       "Refuse unless every file of the image is what CERT says");
}

std::unique_ptr<OutputFile> seal(const SealOptions& options, const ImageOptions& image_options,
                                 const OpenImage& opened, Progress& progress) {
    std::optional<Certificate> required;
    if (options.require) required = read_certificate(*options.require);
    if (options.seal) new_certificate(*options.seal);  // fails now rather than hours later
    const FileHashes hashes = hash_files(opened.files, options.seal ? &opened.map : nullptr, progress);
    refuse_unread(hashes);
    if (required)
        with_context(concat("it is not what '", *options.require, "' says"), [&] {
            require_unchanged(*required, opened.image().file->path(), opened.files, hashes.files);
        });
    if (!options.seal) return nullptr;
    return write_certificate(*options.seal, certify(image_options, opened, hashes));
}

void require_unchanged(const Certificate& certificate, const std::string& image_path,
                       const std::vector<FilePtr>& files, const std::vector<FileHash>& hashes) {
    std::map<std::string, const SealedFile*> sealed;
    for (const SealedFile& file : certificate.files) sealed.emplace(file.name, &file);
    std::vector<std::string> differences;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const std::string name = sealed_name(*files[i], image_path);
        const auto found = sealed.find(name);
        if (found == sealed.end()) {
            differences.push_back(concat("'", name, "' is not in it"));
            continue;
        }
        const SealedFile& then = *found->second;
        if (then.kind != files[i]->kind() || then.size != files[i]->size() || then.sha256 != hashes[i].sha256)
            differences.push_back(concat("'", name, "' has changed"));
        sealed.erase(found);
    }
    for (const SealedFile& file : certificate.files)
        if (sealed.contains(file.name))
            differences.push_back(concat("'", file.name, "' is no file of the image any more"));
    if (!differences.empty()) throw Error(ErrorKind::changed, joined(differences));
}

}  // namespace vmdkdm
