// Whether an overlay belongs to an image. What dm-snapshot keeps are the chunks that were changed; over a
// disk that is another by one sector they make a disk that never was.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "overlay/overlay_file.h"

namespace vmdkdm {
namespace {

std::int64_t modified_ns(const File& file) {
    if (file.kind() == FileKind::block_device || file.fd() < 0) return 0;
    struct stat status = {};
    if (::fstat(file.fd(), &status) != 0)
        throw system_error(concat("cannot stat '", file.path(), "'"), errno);
    return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

std::string name_seen_from(const std::string& image, const std::string& path) {
    const std::string directory = image.substr(0, image.rfind('/') + 1);
    return path.starts_with(directory) ? path.substr(directory.size()) : path;
}

// In UTC, as `created` is.
std::string time_text(std::int64_t ns) {
    const std::int64_t second_ns = 1'000'000'000;
    const std::time_t seconds = ns / second_ns - (ns % second_ns < 0 ? 1 : 0);
    std::tm parts = {};
    char text[64] = "";
    if (::gmtime_r(&seconds, &parts) != nullptr)
        std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    std::string fraction = concat(ns - std::int64_t{seconds} * second_ns);
    fraction.insert(0, 9 - fraction.size(), '0');
    return concat(text, ".", fraction, " UTC");
}

[[noreturn]] void refuse(const std::string& difference) {
    throw Error(ErrorKind::refused,
                concat("the overlay belongs to another disk, or the image has changed: ", difference));
}

void check_links(const std::vector<OverlaidLink>& then, const std::vector<OverlaidLink>& now) {
    if (then.size() != now.size())
        refuse(concat("its chain has ", now.size(), now.size() == 1 ? " link" : " links", ", then ",
                      then.size()));
    for (std::size_t i = 0; i < then.size(); ++i) {
        const std::string which = i == 0 ? "the image" : concat("its parent ", i);
        if (then[i].cid != now[i].cid)
            refuse(concat("the CID of ", which, " is ", to_string(now[i].cid), ", then ",
                          to_string(then[i].cid)));
        if (then[i].parent_cid != now[i].parent_cid)
            refuse(concat("the parentCID of ", which, " is ", to_string(now[i].parent_cid), ", then ",
                          to_string(then[i].parent_cid)));
        if (then[i].uuid != now[i].uuid)
            refuse(concat("ddb.uuid of ", which, " is '", now[i].uuid, "', then '", then[i].uuid, "'"));
    }
}

std::string then_called(const OverlaidFile& then, const OverlaidFile& now) {
    return then.name == now.name ? "then" : concat("then ('", then.name, "')");
}

}  // namespace

OverlayHeader describe_for_overlay(const ImageChain& chain, const BlockMap& disk) {
    OverlayHeader header;
    header.capacity = disk.capacity();
    header.image = chain.images.front().file->path();
    std::set<FileIdentity> seen;
    const auto add = [&](const File& file) {
        if (!seen.insert(file.identity()).second) return;
        header.files.push_back({name_seen_from(header.image, file.path()), file.size(), modified_ns(file)});
    };
    for (const Image& image : chain.images) {
        header.links.push_back({image.descriptor.cid, image.descriptor.parent_cid,
                                image.descriptor.ddb.get("uuid").value_or("")});
        add(*image.file);
    }
    for (const MappedFile& mapped : disk.files()) add(*mapped.file);
    return header;
}

void check_belongs(const OverlayHeader& overlay, const OverlayHeader& now, bool accept_touched,
                   std::vector<std::string>& notes) {
    if (overlay.capacity != now.capacity)
        refuse(concat("the disk has ", now.capacity.count(), " sectors, then ", overlay.capacity.count()));
    check_links(overlay.links, now.links);
    if (overlay.files.size() != now.files.size())
        refuse(concat("the disk is in ", now.files.size(), " files, then in ", overlay.files.size()));
    for (std::size_t i = 0; i < now.files.size(); ++i) {
        const OverlaidFile& then = overlay.files[i];
        if (then.size != now.files[i].size)
            refuse(concat("'", now.files[i].name, "' has ", now.files[i].size.count(), " bytes, ",
                          then_called(then, now.files[i]), " ", then.size.count()));
    }
    for (std::size_t i = 0; i < now.files.size(); ++i) {
        const OverlaidFile& then = overlay.files[i];
        if (then.modified_ns == now.files[i].modified_ns) continue;
        const std::string times =
            concat("'", now.files[i].name, "' was modified on ", time_text(now.files[i].modified_ns), ", ",
                   then_called(then, now.files[i]), " on ", time_text(then.modified_ns));
        if (!accept_touched)
            refuse(concat(times,
                          " (if only its time has changed, as by a copy without -p, see --accept-touched)"));
        notes.push_back(times);
    }
}

}  // namespace vmdkdm
