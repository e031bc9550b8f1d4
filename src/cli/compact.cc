// vmdk-dm compact: the disk as a raw sparse file, or onto a block device.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/hash_output.h"
#include "cli/image_options.h"
#include "cli/progress.h"
#include "compact/output_file.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"
#include "kernel/target_device.h"

namespace vmdkdm {
namespace {

struct CompactOptions {
    ImageOptions image;
    std::string output;
    bool force = false;
    bool to_device = false;
    bool no_sync = false;
    std::optional<std::string> hashes;
    std::string progress = "auto";
    bool json = false;
};

struct Compacted {
    std::string output;
    CopyResult copy;
    double seconds = 0;
};

// Every file of the chain, also those that the disk shows nothing of, and with --layer the newer ones.
std::vector<FileIdentity> files_of_chain(const ImageOptions& options, const OpenImage& opened) {
    std::vector<FileIdentity> found;
    for (const MappedFile& mapped : opened.map.files()) found.push_back(mapped.file->identity());
    ImageOptions whole = options;
    whole.chain.layer = 0;
    ConfinedOpener opener(open_rules(whole));
    std::vector<std::string> ignored;
    const ImageChain chain = read_chain(whole.image, opener, chain_rules(whole), ignored);
    for (const Image& image : chain.images) {
        found.push_back(image.file->identity());
        if (image.embedding) continue;
        for (const ExtentDescriptor& extent : image.descriptor.extents) {
            if (extent.file_name.empty()) continue;
            try {
                found.push_back(opener.open_beside(*image.file, extent.file_name)->identity());
            } catch (const Error&) {
                // What cannot be opened now was not read either.
            }
        }
    }
    return found;
}

void refuse_own_file(const std::string& path, const std::vector<FileIdentity>& files) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return;
    const FileIdentity identity{status.st_dev, status.st_ino};
    if (std::find(files.begin(), files.end(), identity) != files.end())
        throw Error(ErrorKind::refused, concat("'", path, "' is a file of the image itself"));
}

CopyOptions copy_options(const CompactOptions& options) {
    CopyOptions copy;
    copy.allow_damaged = options.image.allow_damaged;
    if (options.hashes) copy.hashes = parse_algorithms(*options.hashes);
    return copy;
}

Compacted compact_to_file(const CompactOptions& options, const OpenImage& opened, Progress& progress) {
    refuse_own_file(options.output, files_of_chain(options.image, opened));
    constexpr mode_t usual_mode =
        S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;  // less the umask
    OutputFile output(options.output, to_bytes(opened.map.capacity()), options.force, usual_mode);
    const CopyTarget target{output.fd(), output.path(), false};
    Compacted done{output.path(), copy_disk(opened.map, &target, copy_options(options), progress)};
    output.publish(!options.no_sync);
    return done;
}

Compacted compact_to_device(const CompactOptions& options, OpenImage& opened, Progress& progress) {
    LinuxKernel kernel(UdevUse::off);
    const Bytes capacity = to_bytes(opened.map.capacity());
    const TargetDevice device = open_target_device(kernel, options.output, capacity,
                                                   files_of_chain(options.image, opened), options.force);
    if (device.size > capacity)
        opened.notes.push_back(concat("'", device.path, "' has ", (device.size - capacity).count(),
                                      " bytes more than the disk; they are left as they are"));
    const CopyTarget target{device.fd.get(), device.path, true};
    Compacted done{device.path, copy_disk(opened.map, &target, copy_options(options), progress)};
    if (!options.no_sync && ::fsync(device.fd.get()) != 0)
        throw system_error(concat("cannot write '", device.path, "' to the disk"), errno);
    return done;
}

// A line that md5sum, sha1sum and sha256sum take with --check: "SHA256 (web.raw) = ...".
std::string checksum_line(const Digest& digest, const std::string& path) {
    std::string algorithm(to_string(digest.algorithm));
    for (char& c : algorithm) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::string escaped;
    for (const char c : path)
        escaped += c == '\\' ? std::string("\\\\") : c == '\n' ? std::string("\\n") : std::string(1, c);
    return concat(escaped == path ? "" : "\\", algorithm, " (", escaped, ") = ", digest.hex);
}

void print(const Compacted& done, const OpenImage& opened, const CompactOptions& options) {
    print_notes(opened.notes);
    print_damage(done.copy.damaged);
    if (options.json) {
        print_json({{"image", opened.image().file->path()},
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
    std::cout << done.output << "\n";
    for (const Digest& digest : done.copy.hashes) std::cout << checksum_line(digest, done.output) << "\n";
}

void run(const CompactOptions& options) {
    copy_options(options);  // refuses what is mistyped before anything is read
    const auto start = std::chrono::steady_clock::now();
    OpenImage opened = open_image(options.image);
    // A signal that comes when the file has its name comes too late.
    const SignalDelay delay;
    with_context(concat("cannot compact '", options.image.image, "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
        Compacted done = [&] {
            ProgressReport progress(options.progress);
            return options.to_device ? compact_to_device(options, opened, progress)
                                     : compact_to_file(options, opened, progress);
        }();
        done.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        print(done, opened, options);
        std::cout.flush();
        delay.discard();
    });
}

}  // namespace

void add_compact_command(CLI::App& app) {
    CLI::App& command =
        *app.add_subcommand("compact", "Write the disk to a raw sparse file or a block device");
    const auto options = std::make_shared<CompactOptions>();
    add_image_options(command, options->image);
    command.add_option("OUT", options->output, "The file to make, or with --to-device the device")
        ->required();
    command.add_flag("--to-device", options->to_device, "OUT is a block device, which is overwritten");
    command.add_flag("--force", options->force,
                     "Replace OUT when it exists; overwrite a device that holds something");
    command
        .add_option("--hash", options->hashes,
                    "Hash the disk in the same pass: md5, sha1 or sha256, or several with commas")
        ->type_name("LIST");
    command.add_flag("--no-sync", options->no_sync, "Do not wait until OUT is on the disk");
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object instead of the path");
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
