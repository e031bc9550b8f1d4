#include "cli/verification.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"
#include "cli/image_options.h"
#include "compact/hash_files.h"
#include "files/confined_opener.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// `image` is where the image is now; empty: where it was.
std::string place_now(const Certificate& certificate, const SealedFile& sealed, const std::string& image) {
    if (image.empty()) return sealed.path;
    if (sealed.path == certificate.image) return image;
    std::error_code ignored;
    const fs::path now = fs::weakly_canonical(fs::absolute(image), ignored);
    return (now.parent_path() / sealed.name).lexically_normal().string();
}

void take_error(Verified& verified, const Error& error) {
    verified.state = error.kind() == ErrorKind::not_found ? SealState::missing : SealState::unreadable;
    verified.why = error.what();
}

// The open file, when it must be hashed to know more.
FilePtr look_at(const SealedFile& sealed, Verified& verified) {
    try {
        const bool is_device = sealed.kind == FileKind::block_device;
        FilePtr file = open_named_file(verified.path, is_device);
        verified.size = file->size();
        if (file->kind() == sealed.kind && file->size() == sealed.size) return file;
        verified.state = SealState::changed;
    } catch (const Error& error) {
        take_error(verified, error);
    }
    return nullptr;
}

void take_hash(Verified& verified, const std::string& sealed, const std::string& sha256,
               const std::optional<Error>& error) {
    if (error) {
        take_error(verified, *error);
        return;
    }
    verified.sha256 = sha256;
    verified.state = sha256 == sealed ? SealState::unchanged : SealState::changed;
}

// The disk is read from what the certificate names and nothing else needs to be allowed for it.
ImageOptions options_for_disk(const Certificate& certificate, const Verification& verification,
                              const std::string& image) {
    ImageOptions options;
    options.image = image;
    options.chain.read = certificate.read;
    options.chain.ignore_cid = certificate.ignore_cid;
    std::set<std::string> directories;
    for (std::size_t i = 0; i < certificate.files.size(); ++i) {
        const std::string directory = fs::path(verification.files[i].path).parent_path().string();
        if (certificate.files[i].kind == FileKind::block_device)
            options.open.allow_devices = true;
        else if (fs::is_directory(directory))
            directories.insert(directory);
    }
    options.open.allow_paths.assign(directories.begin(), directories.end());
    options.chain.search_dirs = options.open.allow_paths;
    return options;
}

std::optional<OpenImage> look_at_disk(const Certificate& certificate, const std::string& image,
                                      Verification& verification) {
    Verified& disk = verification.disk.emplace();
    disk.path = image;
    try {
        OpenImage opened = open_image(options_for_disk(certificate, verification, image));
        disk.size = to_bytes(opened.map.capacity());
        if (*disk.size == certificate.capacity) return opened;
        disk.state = SealState::changed;
    } catch (const Error& error) {
        take_error(disk, error);
    }
    return std::nullopt;
}

std::string_view word_for(SealState state) {
    switch (state) {
        case SealState::unchanged:
            return "unchanged";
        case SealState::changed:
            return "changed";
        case SealState::missing:
            return "missing";
        case SealState::unreadable:
            break;
    }
    return "unreadable";
}

std::string line_about(const Verified& verified, Bytes sealed_size) {
    switch (verified.state) {
        case SealState::unchanged:
            return "OK";
        case SealState::missing:
            return "missing";
        case SealState::unreadable:
            return concat("cannot be read: ", masked(verified.why));
        case SealState::changed:
            break;
    }
    if (verified.size != sealed_size)
        return concat("changed: it has ", verified.size.value_or(Bytes(0)).count(), " bytes, not ",
                      sealed_size.count());
    return "changed";
}

Json as_json(const Verified& verified, Bytes sealed_size, const std::string& sealed_sha256) {
    return {{"path", verified.path},
            {"state", word_for(verified.state)},
            {"size", verified.size ? Json(verified.size->count()) : Json(nullptr)},
            {"sealedSize", sealed_size.count()},
            {"sha256", verified.sha256.empty() ? Json(nullptr) : Json(verified.sha256)},
            {"sealedSha256", sealed_sha256},
            {"why", verified.why.empty() ? Json(nullptr) : Json(verified.why)}};
}

}  // namespace

std::size_t Verification::changed() const {
    const auto has_changed = [](const Verified& verified) { return verified.state != SealState::unchanged; };
    const auto count = std::count_if(files.begin(), files.end(), has_changed);
    return static_cast<std::size_t>(count) + (disk && has_changed(*disk) ? 1 : 0);
}

Verification verify(const Certificate& certificate, const VerifyOptions& options, Progress& progress) {
    Verification verification;
    std::vector<FilePtr> open;
    std::vector<std::size_t> places;  // of the open ones, in the certificate
    for (const SealedFile& sealed : certificate.files) {
        Verified& verified = verification.files.emplace_back();
        verified.path = place_now(certificate, sealed, options.image);
        if (FilePtr file = look_at(sealed, verified)) {
            open.push_back(std::move(file));
            places.push_back(verification.files.size() - 1);
        }
    }
    std::optional<OpenImage> disk;
    if (options.deep)
        disk = look_at_disk(certificate, options.image.empty() ? certificate.image : options.image,
                            verification);

    const FileHashes hashes = hash_files(open, disk ? &disk->map : nullptr, progress);
    for (std::size_t i = 0; i < open.size(); ++i)
        take_hash(verification.files[places[i]], certificate.files[places[i]].sha256, hashes.files[i].sha256,
                  hashes.files[i].error);
    if (hashes.disk)
        take_hash(*verification.disk, certificate.disk_sha256, hashes.disk->sha256, hashes.disk->error);
    return verification;
}

void print_as_text(const Certificate& certificate, const std::string& certificate_path,
                   const Verification& verification) {
    for (std::size_t i = 0; i < certificate.files.size(); ++i)
        std::cout << masked(certificate.files[i].name) << ": "
                  << line_about(verification.files[i], certificate.files[i].size) << "\n";
    if (verification.disk)
        std::cout << "the disk: " << line_about(*verification.disk, certificate.capacity) << "\n";
    std::cout.flush();
    const std::size_t changed = verification.changed();
    const std::size_t all = certificate.files.size() + (verification.disk ? 1 : 0);
    if (changed > 0)
        std::cerr << "vmdk-dm: " << changed << " of " << all << (changed == 1 ? " is" : " are")
                  << " not what '" << certificate_path << "' says\n";
}

Json as_json(const Certificate& certificate, const std::string& certificate_path,
             const Verification& verification) {
    Json files = Json::array();
    for (std::size_t i = 0; i < certificate.files.size(); ++i)
        files.push_back(
            as_json(verification.files[i], certificate.files[i].size, certificate.files[i].sha256));
    return {{"certificate", certificate_path},
            {"created", certificate.created},
            {"unchanged", verification.changed() == 0},
            {"files", files},
            {"disk", verification.disk
                         ? as_json(*verification.disk, certificate.capacity, certificate.disk_sha256)
                         : Json(nullptr)}};
}

}  // namespace vmdkdm
