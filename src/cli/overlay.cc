// vmdk-dm overlay: what was written to an overlay file, without attaching it: looked at, thrown away, or
// written out.
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/hash_output.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/overlaid_image.h"
#include "cli/printer.h"
#include "cli/progress.h"
#include "cli/raw_output.h"
#include "compact/output_file.h"
#include "kernel/signals.h"
#include "overlay/delta.h"
#include "overlay/discard.h"

namespace vmdkdm {
namespace {

// info ------------------------------------------------------------------------------------------------------

struct FileOptions {
    std::string file;
    bool json = false;
};

struct ByteRange {
    Bytes start;
    Bytes length;
};

// As large as they can be, wherever in the overlay they are.
std::vector<ByteRange> changed_ranges(const Layer& layer) {
    std::vector<ByteRange> ranges;
    for (const auto& run : layer) {
        if (std::holds_alternative<Unallocated>(run.content)) continue;
        const Bytes start = to_bytes(run.start);
        if (!ranges.empty() && ranges.back().start + ranges.back().length == start)
            ranges.back().length += to_bytes(run.length);
        else
            ranges.push_back({start, to_bytes(run.length)});
    }
    return ranges;
}

Bytes total_of(const std::vector<ByteRange>& ranges) {
    Bytes total;
    for (const ByteRange& range : ranges) total += range.length;
    return total;
}

Bytes allocated_bytes(const OverlayFile& overlay) {
    struct stat status = {};
    if (::fstat(overlay.file()->fd(), &status) != 0)
        throw system_error(concat("cannot stat '", overlay.path(), "'"), errno);
    return Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512);
}

struct OverlayFacts {
    const OverlayFile& overlay;
    CowState state;
    Bytes used;
    Bytes allocated;
    std::vector<ByteRange> ranges;
    std::vector<ChunkFault> faults;
    std::string loop;  // that it is attached with, as far as it can be known
};

Json ranges_as_json(const std::vector<ByteRange>& ranges) {
    Json list = Json::array();
    for (const ByteRange& range : ranges)
        list.push_back({{"start", range.start.count()}, {"length", range.length.count()}});
    return list;
}

Json faults_as_json(const std::vector<ChunkFault>& faults) {
    Json list = Json::array();
    for (const ChunkFault& fault : faults)
        list.push_back({{"start", to_bytes(fault.start).count()},
                        {"length", to_bytes(fault.length).count()},
                        {"why", fault.why}});
    return list;
}

Json links_as_json(const std::vector<OverlaidLink>& links) {
    Json list = Json::array();
    for (const OverlaidLink& link : links)
        list.push_back(
            {{"CID", to_string(link.cid)},
             {"parentCID", link.parent_cid == no_parent ? Json(nullptr) : Json(to_string(link.parent_cid))}});
    return list;
}

Json files_as_json(const std::vector<OverlaidFile>& files) {
    Json list = Json::array();
    for (const OverlaidFile& file : files)
        list.push_back({{"name", file.name}, {"size", file.size.count()}, {"modifiedNs", file.modified_ns}});
    return list;
}

std::string_view to_string(CowState state) {
    return state == CowState::untouched ? "untouched" : state == CowState::valid ? "valid" : "invalid";
}

void print_as_json(const OverlayFacts& facts) {
    const OverlayHeader& header = facts.overlay.header();
    print_json({{"overlay", facts.overlay.path()},
                {"image", header.image},
                {"created", header.created},
                {"capacity", to_bytes(header.capacity).count()},
                {"chunk", to_bytes(header.chunk).count()},
                {"limit", header.limit.count()},
                {"state", to_string(facts.state)},
                {"loop", facts.loop.empty() ? Json(nullptr) : Json(facts.loop)},
                {"used", facts.used.count()},
                {"allocated", facts.allocated.count()},
                {"bytesChanged", total_of(facts.ranges).count()},
                {"changes", ranges_as_json(facts.ranges)},
                {"damaged", faults_as_json(facts.faults)},
                {"links", links_as_json(header.links)},
                {"files", files_as_json(header.files)}});
}

std::string in_bytes(Bytes size) { return concat(size.count(), " bytes (", human_size(size), ")"); }

std::string state_in_words(CowState state) {
    switch (state) {
        case CowState::untouched:
            return "nothing was ever written to it";
        case CowState::valid:
            return "valid";
        case CowState::invalid:
            return "given up by the kernel; what it had written before is there";
    }
    return "";
}

void print_as_text(const OverlayFacts& facts) {
    constexpr std::size_t shown = 10;
    const OverlayHeader& header = facts.overlay.header();
    const auto line = [](std::string_view label, const std::string& value) {
        out() << label << std::string(12 - label.size(), ' ') << value << "\n";
    };
    line("Overlay:", facts.overlay.path());
    line("Image:", header.image);
    line("Created:", header.created);
    line("Capacity:", in_bytes(to_bytes(header.capacity)));
    line("State:", state_in_words(facts.state));
    if (!facts.loop.empty()) line("In use by:", facts.loop);
    line("Chunk:", in_bytes(to_bytes(header.chunk)));
    line("Limit:", in_bytes(header.limit));
    line("Used:", concat(in_bytes(facts.used), ", ", facts.used.count() * 100 / header.limit.count(),
                         " % of the limit"));
    line("Allocated:", in_bytes(facts.allocated));
    line("Changed:", concat(in_bytes(total_of(facts.ranges)), " in ", counted(facts.ranges.size(), "range")));
    using enum TextTable::Align;
    const auto print_first = [](const TextTable& table, std::size_t all) {
        if (all == 0) return;
        table.print(2);
        if (all > shown) out() << "  and " << all - shown << " more (see --json)\n";
    };
    TextTable changed({{"START", right}, {"LENGTH", right}});
    for (std::size_t i = 0; i < std::min(shown, facts.ranges.size()); ++i)
        changed.add({concat(facts.ranges[i].start.count()), concat(facts.ranges[i].length.count())});
    print_first(changed, facts.ranges.size());
    if (facts.faults.empty()) return;
    line("Damaged:", concat(counted(facts.faults.size(), "range"), ": attach refuses it"));
    TextTable damaged({{"START", right}, {"LENGTH", right}, {"WHY", left}});
    for (std::size_t i = 0; i < std::min(shown, facts.faults.size()); ++i)
        damaged.add({concat(to_bytes(facts.faults[i].start).count()),
                     concat(to_bytes(facts.faults[i].length).count()), facts.faults[i].why});
    print_first(damaged, facts.faults.size());
}

void show(const FileOptions& options) {
    const OverlayFile overlay = OverlayFile::open_in_use(options.file);
    std::vector<std::string> notes;
    Changes changes = read_changes(overlay, notes);
    const OverlayFacts facts{overlay,
                             overlay.cow_state(),
                             changes.used,
                             allocated_bytes(overlay),
                             changed_ranges(changes.layer),
                             std::move(changes.faults),
                             loop_on(*overlay.file())};
    if (!facts.loop.empty())
        notes.push_back(
            concat("the overlay is attached: what was written in the last moments may be missing here"));
    print_notes(notes);
    options.json ? print_as_json(facts) : print_as_text(facts);
}

// discard ---------------------------------------------------------------------------------------------------

void discard(const FileOptions& options) {
    const OverlayFile overlay = OverlayFile::open_writable(options.file);
    refuse_if_attached(overlay);
    const Bytes before = allocated_bytes(overlay);
    discard_changes(overlay);
    const Bytes after = allocated_bytes(overlay);
    if (options.json)
        print_json(
            {{"overlay", overlay.path()}, {"bytesFreed", before > after ? (before - after).count() : 0}});
    else
        out() << overlay.path() << "\n";
}

// merge-to --------------------------------------------------------------------------------------------------

struct MergeOptions {
    ImageOptions image;
    OverlayToRead overlay;
    OutputOptions output;
    std::string format = "raw";
    std::optional<std::string> hashes;
    std::string progress = "auto";
    bool json = false;
};

CopyOptions copy_options(const MergeOptions& options) {
    CopyOptions copy;
    copy.allow_damaged = options.image.allow_damaged;
    if (options.hashes) copy.hashes = parse_algorithms(*options.hashes);
    return copy;
}

struct WrittenDelta {
    Written written;
    DeltaDescriptor descriptor;
    std::uint64_t grains = 0;
};

WrittenDelta write_as_delta(const MergeOptions& options, const OpenImage& opened,
                            const std::optional<OverlayOnImage>& overlay, Progress& progress) {
    refuse_own_file(options.output.path, files_of_chain(options.image, opened), overlay);
    const Sectors capacity = opened.map.capacity();
    const std::vector<GrainRange> grains = changed_grains(overlay->changes.layer);
    const DeltaExtent extent(capacity, grains);
    OutputFile file(options.output.path, extent.size(), options.output.force, usual_mode);
    const DeltaDescriptor descriptor = describe_delta(opened.chain, capacity, file.path());
    Written written{file.path(), write_delta(extent, descriptor, opened.map, grains, file,
                                             copy_options(options), progress)};
    file.publish(!options.output.no_sync);
    return {std::move(written), descriptor, extent.grain_count()};
}

// Our own reader opens nothing outside the directory of the image that names it.
void note_place_of_parent(const DeltaDescriptor& descriptor, OpenImage& opened) {
    if (!descriptor.parent_hint.starts_with('/') && !descriptor.parent_hint.starts_with("..")) return;
    const std::string directory = std::filesystem::path(opened.image().file->path()).parent_path().string();
    opened.notes.push_back(
        concat("the delta's parent is in another directory: read it with --search-dir '", directory, "'"));
}

void print_delta(const WrittenDelta& done, const OpenImage& opened,
                 const std::optional<OverlayOnImage>& overlay, bool json) {
    print_notes(opened.notes);
    print_damage(done.written.copy.damaged);
    if (!json) {
        out() << done.written.output << "\n";
        return;
    }
    const CopyResult& copy = done.written.copy;
    print_json({{"image", opened.image().file->path()},
                {"overlay", path_or_null(overlay)},
                {"output", done.written.output},
                {"format", "vmdk-delta"},
                {"capacity", to_bytes(opened.map.capacity()).count()},
                {"CID", to_string(done.descriptor.cid)},
                {"parentCID", to_string(done.descriptor.parent_cid)},
                {"parentFileNameHint", done.descriptor.parent_hint},
                {"grains", done.grains},
                {"bytesCopied", copy.copied.count()},
                {"bytesReflinked", copy.reflinked.count()},
                {"bytesInflated", copy.inflated.count()},
                {"seconds", done.written.seconds},
                {"damaged", damage_as_json(copy.damaged)}});
}

void merge(const MergeOptions& options) {
    copy_options(options);  // refuses what is mistyped before anything is read
    const bool as_delta = options.format == "vmdk-delta";
    if (as_delta && options.hashes)
        throw Error(
            ErrorKind::usage,
            "--hash goes with --format raw: no file then has the disk's hash (see vmdk-dm hash --overlay)");
    const auto start = std::chrono::steady_clock::now();
    OpenImage opened = open_image(options.image);
    const std::optional<OverlayOnImage> overlay = lay_over(options.overlay, opened);
    const SignalDelay delay;
    with_context(concat("cannot merge '", overlay->file.path(), "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
        WrittenDelta done = [&] {
            ProgressReport progress(options.progress);
            if (as_delta) return write_as_delta(options, opened, overlay, progress);
            return WrittenDelta{
                write_raw(options.output, options.image, opened, overlay, copy_options(options), progress),
                {},
                0};
        }();
        done.written.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (as_delta) note_place_of_parent(done.descriptor, opened);
        as_delta ? print_delta(done, opened, overlay, options.json)
                 : print_written(done.written, opened, overlay, options.json);
        out().flush();
        delay.discard();
    });
}

// ------------------------------------------------------------------------------------------------------------

void add_file_options(Command& command, FileOptions& options) {
    command.add_argument("FILE", options.file, "The overlay").required();
    command.add_flag("--json", options.json, "Print one JSON object");
}

void add_info(Command& overlay) {
    Command command =
        overlay.add_command("info", "Show what an overlay belongs to, and which bytes it changes");
    const auto options = std::make_shared<FileOptions>();
    add_file_options(command, *options);
    command.on_run([options] { show(*options); });
}

void add_discard(Command& overlay) {
    Command command =
        overlay.add_command("discard", "Throw away what was written to an overlay; it can be used again");
    const auto options = std::make_shared<FileOptions>();
    add_file_options(command, *options);
    command.on_run([options] { discard(*options); });
}

void add_merge_to(Command& overlay) {
    Command command =
        overlay.add_command("merge-to", "Write the image with the changes, or the changes, to a new file");
    const auto options = std::make_shared<MergeOptions>();
    add_image_options(command, options->image);
    command.add_argument("OUT", options->output.path, "The file to make").required();
    add_overlay_to_read(command, options->overlay, /*required=*/true);
    command
        .add_option("--format", options->format, "FORMAT",
                    "raw (the whole disk) or vmdk-delta (a snapshot of IMAGE with the changes only)")
        .one_of({"raw", "vmdk-delta"});
    add_output_options(command, options->output, "Replace OUT when it exists");
    add_hash_option(command, options->hashes);
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object instead of the path");
    command.on_run([options] { merge(*options); });
}

}  // namespace

void add_overlay_command(Command& app) {
    Command command = app.add_command(
        "overlay", "Show, discard or write out what was written to an overlay (see attach --overlay)");
    command.require_command();
    add_info(command);
    add_discard(command);
    add_merge_to(command);
}

}  // namespace vmdkdm
