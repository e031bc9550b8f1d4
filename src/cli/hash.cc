// vmdk-dm hash: the hash of the disk, as if it were a raw file, without writing one.
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/hash_output.h"
#include "cli/image_options.h"
#include "cli/overlaid_image.h"
#include "cli/printer.h"
#include "cli/progress.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

struct HashOptions {
    ImageOptions image;
    OverlayToRead overlay;
    std::string algorithms = "sha256";
    std::string progress = "auto";
    bool json = false;
};

void run(const HashOptions& options) {
    const std::vector<HashAlgorithm> algorithms = parse_algorithms(options.algorithms);
    OpenImage opened = open_image(options.image);
    const auto overlay = lay_over(options.overlay, opened);
    const SignalDelay delay;
    const CopyResult result = with_context(concat("cannot hash '", options.image.image, "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
        CopyOptions copy;
        copy.allow_damaged = options.image.allow_damaged;
        copy.hashes = algorithms;
        ProgressReport progress(options.progress);
        return copy_disk(opened.map, nullptr, copy, progress);
    });
    print_notes(opened.notes);
    print_damage(result.damaged);
    if (options.json) {
        print_json({{"image", opened.image().file->path()},
                    {"overlay", path_or_null(overlay)},
                    {"capacity", to_bytes(opened.map.capacity()).count()},
                    {"hashes", hashes_as_json(result.hashes)},
                    {"damaged", damage_as_json(result.damaged)}});
        return;
    }
    for (const Digest& digest : result.hashes)
        out() << to_string(digest.algorithm) << "  " << digest.hex << "\n";
}

}  // namespace

void add_hash_command(Command& app) {
    Command command = app.add_command("hash", "Hash the disk, as if it were a raw file");
    const auto options = std::make_shared<HashOptions>();
    add_image_options(command, options->image);
    add_overlay_to_read(command, options->overlay);
    command.add_option("--algorithm", options->algorithms, "LIST",
                       "md5, sha1 or sha256, or several with commas (default: sha256)");
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
