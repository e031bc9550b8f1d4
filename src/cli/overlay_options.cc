#include "cli/overlay_options.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/planned_file.h"
#include "cli/size_option.h"
#include "files/local_file.h"
#include "overlay/changes.h"

namespace vmdkdm {
namespace {

std::string now_as_text() {
    const std::time_t now = std::time(nullptr);
    std::tm parts = {};
    char text[32] = "";
    if (::gmtime_r(&now, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

bool exists(const std::string& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0;
}

void check_options(const OverlayOptions& options) {
    if (options.size && !options.file) throw Error(ErrorKind::usage, "--overlay-size needs --overlay");
    if (options.accept_touched && !options.file)
        throw Error(ErrorKind::usage, "--accept-touched needs --overlay");
}

// The limit that the user wants; nothing: whatever it is, or enough for all of the disk.
std::optional<Bytes> wanted_limit(const OverlayOptions& options, Sectors chunk) {
    if (!options.size) return std::nullopt;
    return usable_limit(parse_size(*options.size, "--overlay-size"), chunk);
}

OverlayHeader header_for_new(const OverlayOptions& options, OverlayHeader header) {
    header.chunk = default_overlay_chunk;
    header.limit =
        wanted_limit(options, header.chunk).value_or(whole_disk_limit(header.capacity, header.chunk));
    header.created = now_as_text();
    return header;
}

void refuse_file_of_image(const std::string& path, const OpenImage& opened) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0) return;
    const auto refuse_if_it_is = [&](const File& file) {
        if (file.identity() == FileIdentity{status.st_dev, status.st_ino})
            throw Error(ErrorKind::refused, concat("--overlay '", path, "' is a file of the image"));
    };
    for (const Image& image : opened.chain.images) refuse_if_it_is(*image.file);
    for (const MappedFile& mapped : opened.map.files()) refuse_if_it_is(*mapped.file);
}

// What is not written whole is first copied from the disk, and the kernel gives an overlay up when that
// fails.
void note_unreadable(OpenImage& opened) {
    const bool is_damaged = std::any_of(opened.map.begin(), opened.map.end(), [](const Run& run) {
        return std::holds_alternative<Unreadable>(run.content);
    });
    if (is_damaged)
        opened.notes.emplace_back(
            "parts of the disk cannot be read: a small write beside them makes the kernel give the overlay "
            "up, until "
            "it is attached anew");
}

OverlayPlan plan_of(const OverlayFile& overlay) {
    return {overlay.file(), overlay_cow_offset, overlay.header().limit, overlay.header().chunk};
}

void refuse_faults(const std::vector<ChunkFault>& faults) {
    if (faults.empty()) return;
    const ChunkFault& first = faults.front();
    throw Error(
        ErrorKind::format,
        concat("it is damaged: bytes ", to_bytes(first.start).count(), " to ",
               to_bytes(first.start + first.length).count() - 1, " of the disk: ", first.why,
               faults.size() > 1 ? concat(", and there are ", faults.size() - 1, " more such places") : "",
               " (see vmdk-dm overlay info; overlay merge-to --allow-damaged saves the rest)"));
}

// What cannot be attached, or should better not be.
void check_existing(const OverlayFile& overlay, const OverlayOptions& options, const OverlayHeader& image,
                    OpenImage& opened) {
    with_context(concat("overlay '", overlay.path(), "'"), [&] {
        check_belongs(overlay.header(), image, options.accept_touched, opened.notes);
        // The kernel believes whatever stands in the store: one that no kernel wrote is refused here. What is
        // written to a chunk that lies in the tables or on another one overwrites what was acknowledged
        // before.
        refuse_faults(read_changes(overlay, opened.notes).faults);
    });
}

OverlayFile make_file(const std::string& path, const OverlayHeader& header) {
    return with_context(
        concat("cannot make the overlay (of at most ", header.limit.count(), " bytes; see --overlay-size)"),
        [&] { return OverlayFile::create(path, header); });
}

Bytes available_memory() {
    const long pages = ::sysconf(_SC_AVPHYS_PAGES);
    const long page = ::sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0
               ? Bytes(checked_multiply(static_cast<std::uint64_t>(pages), static_cast<std::uint64_t>(page)))
               : Bytes(0);
}

Bytes scratch_size(const std::string& wanted, Sectors capacity) {
    const Bytes whole_disk = whole_disk_limit(capacity, default_overlay_chunk);
    if (wanted != flag_without_value)
        return usable_limit(parse_size(wanted, "--scratch"), default_overlay_chunk);
    const Bytes half(available_memory().count() / 2);
    return half < whole_disk ? usable_limit(half, default_overlay_chunk) : whole_disk;
}

FilePtr make_scratch(Bytes size) {
    UniqueFd fd(::memfd_create("vmdk-dm-scratch", MFD_CLOEXEC));
    if (!fd) throw system_error("--scratch: memfd_create", errno);
    if (::ftruncate(fd.get(), static_cast<off_t>(size.count())) != 0)
        throw system_error(concat("--scratch: a file of ", size.count(), " bytes in memory"), errno);
    return local_file("(memory)", std::move(fd));
}

}  // namespace

void add_overlay_options(Command& command, OverlayOptions& options) {
    const Option in_place = command.option("--in-place");
    const Option file =
        command
            .add_option(
                "--overlay", options.file, "FILE",
                "Writable: writes go to FILE, which is made when it is missing and can be attached again")
            .excludes(in_place);
    command.add_option("--overlay-size", options.size, "SIZE",
                       "How large the overlay may become, such as 10G (default: as large as the disk)");
    command
        .add_flag("--scratch", options.scratch, "SIZE",
                  "Writable: writes go to memory, at most SIZE (default: half of what is free), and are lost "
                  "at detach")
        .excludes(file)
        .excludes(in_place);
    command.add_flag("--accept-touched", options.accept_touched,
                     "Accept an overlay although a file of the image has another time than when it was made");
}

std::optional<ChosenOverlay> ChosenOverlay::open(const OverlayOptions& options, OpenImage& opened) {
    check_options(options);
    if (options.scratch || options.file) note_unreadable(opened);
    if (options.scratch) {
        const Bytes size = scratch_size(*options.scratch, opened.map.capacity());
        return ChosenOverlay(OverlayPlan{make_scratch(size), Bytes(0), size, default_overlay_chunk});
    }
    if (!options.file) return std::nullopt;

    refuse_file_of_image(*options.file, opened);
    const OverlayHeader image = describe_for_overlay(opened.chain, opened.map);
    if (!exists(*options.file)) {
        OverlayFile made = make_file(*options.file, header_for_new(options, image));
        OverlayPlan plan = plan_of(made);
        return ChosenOverlay(std::move(plan), std::move(made));
    }
    OverlayFile overlay = OverlayFile::open_writable(*options.file);
    check_existing(overlay, options, image, opened);
    if (const auto limit = wanted_limit(options, overlay.header().chunk)) overlay.grow(*limit);
    if (overlay.cow_state() == CowState::invalid) overlay.make_valid();
    return ChosenOverlay(plan_of(overlay));
}

std::optional<ChosenOverlay> ChosenOverlay::foresee(const OverlayOptions& options, OpenImage& opened) {
    check_options(options);
    if (options.scratch || options.file) note_unreadable(opened);
    if (options.scratch) {
        const Bytes size = scratch_size(*options.scratch, opened.map.capacity());
        return ChosenOverlay(OverlayPlan{std::make_shared<PlannedFile>("(memory)", size), Bytes(0), size,
                                         default_overlay_chunk});
    }
    if (!options.file) return std::nullopt;

    refuse_file_of_image(*options.file, opened);
    const OverlayHeader image = describe_for_overlay(opened.chain, opened.map);
    if (!exists(*options.file)) {
        const OverlayHeader header = header_for_new(options, image);
        const std::string path = std::filesystem::absolute(*options.file).lexically_normal().string();
        return ChosenOverlay(
            OverlayPlan{std::make_shared<PlannedFile>(path, overlay_cow_offset + header.limit),
                        overlay_cow_offset, header.limit, header.chunk});
    }
    const OverlayFile overlay = OverlayFile::open_in_use(*options.file);
    check_existing(overlay, options, image, opened);
    OverlayPlan plan = plan_of(overlay);
    if (const auto limit = wanted_limit(options, overlay.header().chunk))
        plan.size = overlay.grown_limit(*limit);
    return ChosenOverlay(std::move(plan));
}

}  // namespace vmdkdm
