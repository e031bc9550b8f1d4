#include "cli/verification.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/printer.h"
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

// A certificate is somebody's file. What it names is looked at only if the image that is there consists of
// it, by the rules of opening.
class FilesOfImage {
  public:
    struct Found {
        FilePtr file;
        bool may_be_told_of;  ///< its size and hash
    };

    FilesOfImage(const ImageOptions& options) : opener_(open_rules(options)), image_(options.image) {
        try {
            opened_ = open_image(options);
        } catch (const Error& error) {
            why_ = error;
        }
    }

    /// Throws Error.
    Found find(const SealedFile& sealed, const std::string& path, bool allow_devices) {
        const FilePtr there = open_named_file(path, allow_devices);
        if (!opened_) return {find_beside_image(sealed.name), false};
        for (const FilePtr& file : opened_->files)
            if (file->identity() == there->identity()) return {file, true};
        throw Error(ErrorKind::refused,
                    concat("'", path, "' is not one of the image's files (see --allow-path, --search-dir)"));
    }

    /// The image. Throws Error.
    OpenImage& opened() {
        if (!opened_) throw *why_;
        return *opened_;
    }

  private:
    // Of an image that cannot be opened, nobody knows what it consists of.
    FilePtr find_beside_image(const std::string& name) {
        const FilePtr image = opener_.open_image(image_);
        return opener_.open_beside(*image, name);
    }

    ConfinedOpener opener_;
    std::string image_;
    std::optional<OpenImage> opened_;
    std::optional<Error> why_;
};

// The open file, when it must be hashed to know more.
FilePtr look_at(const SealedFile& sealed, FilesOfImage& image, bool allow_devices, Verified& verified) {
    try {
        const auto [file, may_be_told_of] = image.find(sealed, verified.path, allow_devices);
        verified.is_secret = !may_be_told_of;
        if (may_be_told_of) verified.size = file->size();
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
    if (!verified.is_secret || sha256 == sealed) verified.sha256 = sha256;
    verified.state = sha256 == sealed ? SealState::unchanged : SealState::changed;
}

ImageOptions options_for_image(const Certificate& certificate, const VerifyOptions& options) {
    ImageOptions image = options.rules;
    image.image = options.image.empty() ? certificate.image : options.image;
    image.chain.read = certificate.read;
    image.chain.ignore_cid = certificate.ignore_cid;
    return image;
}

// The disk, when it must be hashed to know more.
const BlockMap* look_at_disk(const Certificate& certificate, const std::string& path, FilesOfImage& image,
                             Verification& verification) {
    Verified& disk = verification.disk.emplace();
    disk.path = path;
    try {
        const BlockMap& map = image.opened().map;
        disk.size = to_bytes(map.capacity());
        if (*disk.size == certificate.capacity) return &map;
        disk.state = SealState::changed;
    } catch (const Error& error) {
        take_error(disk, error);
    }
    return nullptr;
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
            return concat("cannot be read: ", verified.why);
        case SealState::changed:
            break;
    }
    if (verified.size && *verified.size != sealed_size)
        return concat("changed: it has ", verified.size->count(), " bytes, not ", sealed_size.count());
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
    const ImageOptions image_options = options_for_image(certificate, options);
    FilesOfImage image(image_options);
    std::vector<FilePtr> open;
    std::vector<std::size_t> places;  // of the open ones, in the certificate
    for (const SealedFile& sealed : certificate.files) {
        Verified& verified = verification.files.emplace_back();
        verified.path = place_now(certificate, sealed, options.image);
        if (FilePtr file = look_at(sealed, image, options.rules.open.allow_devices, verified)) {
            open.push_back(std::move(file));
            places.push_back(verification.files.size() - 1);
        }
    }
    const BlockMap* const disk =
        options.deep ? look_at_disk(certificate, image_options.image, image, verification) : nullptr;

    const FileHashes hashes = hash_files(open, disk, progress);
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
        out() << certificate.files[i].name << ": "
              << line_about(verification.files[i], certificate.files[i].size) << "\n";
    if (verification.disk)
        out() << "the disk: " << line_about(*verification.disk, certificate.capacity) << "\n";
    out().flush();
    const std::size_t changed = verification.changed();
    const std::size_t all = certificate.files.size() + (verification.disk ? 1 : 0);
    if (changed > 0)
        err() << "vmdk-dm: " << changed << " of " << all << (changed == 1 ? " is" : " are") << " not what '"
              << certificate_path << "' says\n";
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
