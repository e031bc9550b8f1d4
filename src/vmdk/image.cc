#include "vmdk/image.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/file_name.h"
#include "vmdk/flat.h"
#include "vmdk/text_cursor.h"

namespace vmdkdm {
namespace {

// Format reference, section 1: the first bytes of every kind of VMDK file that has a signature.
std::optional<std::string_view> signed_kind(std::span<const std::byte> head) {
    if (head.size() < 8) return std::nullopt;
    if (load_le32(head, 0) == 0x564d444b) return "a hosted sparse extent (KDMV)";
    if (load_le32(head, 0) == 0x44574f43) return "an ESX sparse extent (COWD)";
    if (load_le64(head, 0) == 0xcafebabe) return "an seSparse extent";
    if (load_le32(head, 0) == 0xf61972a2) return "a change-tracking file (CTK), which holds no disk data";
    return std::nullopt;
}

// How much of a file is looked at to tell whether it is a descriptor.
constexpr std::size_t head_bytes = 64 << 10;

std::string load_descriptor_text(const File& file, const std::string& path) {
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(file.size().count(), max_descriptor_bytes));
    std::string text(std::min(size, head_bytes), '\0');
    file.read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
    if (const auto kind = signed_kind(std::as_bytes(std::span(text))))
        throw Error(ErrorKind::format, concat("it is ", *kind, "; this version attaches flat images only"));
    if (!looks_like_descriptor(text)) {
        const bool is_data = path.find("-flat.vmdk") != std::string::npos;
        throw Error(ErrorKind::format,
                    concat("it is not a VMDK descriptor",
                           is_data ? " (it looks like the data of an image: name the descriptor beside it)"
                                   : " (expected a text with a 'version' line)"));
    }
    if (file.size() > Bytes(max_descriptor_bytes))
        throw Error(ErrorKind::format, concat("the descriptor is ", file.size().count(),
                                              " bytes long (at most ", max_descriptor_bytes, " are read)"));
    const std::size_t first = text.size();
    text.resize(size);
    file.read_at(Bytes(first), std::as_writable_bytes(std::span(text)).subspan(first));
    return text;
}

FilePtr open_extent_file(const Image& image, const ExtentDescriptor& extent, FileOpener& opener) {
    if (is_windows_device(extent.file_name))
        throw Error(ErrorKind::format,
                    concat("'", printable(extent.file_name), "' is a device of a Windows host"));
    std::optional<Error> first_error;
    for (const std::string& name : file_name_candidates(extent.file_name, image.descriptor.encoding)) {
        try {
            return opener.open_beside(*image.file, name);
        } catch (const Error& error) {
            if (!first_error || error.kind() != ErrorKind::not_found) first_error = error;
            if (error.kind() != ErrorKind::not_found) break;
        }
    }
    throw *first_error;
}

void refuse_unmapped_type(const ExtentDescriptor& extent) {
    if (is_flat(extent.type)) return;
    const std::string_view why =
        extent.type == ExtentType::vmfs_rdm
            ? "the data of a raw device mapping is on its LUN, which the descriptor does not name"
        : extent.type == ExtentType::vsan_sparse ? "vSAN objects can be read on their host only"
                                                 : "this version attaches flat images only";
    throw Error(ErrorKind::format, concat("it is of type ", to_string(extent.type), ": ", why));
}

void note_shared_ranges(const std::vector<std::pair<const File*, const ExtentDescriptor*>>& used,
                        std::vector<std::string>& notes) {
    auto by_place = used;
    std::sort(by_place.begin(), by_place.end(), [](const auto& a, const auto& b) {
        return std::pair(a.first->identity(), a.second->offset) <
               std::pair(b.first->identity(), b.second->offset);
    });
    for (std::size_t i = 1; i < by_place.size(); ++i) {
        const auto& [file, extent] = by_place[i - 1];
        const auto& [next_file, next] = by_place[i];
        if (file->identity() == next_file->identity() && extent->offset + extent->size > next->offset) {
            notes.push_back(concat("the extents on lines ", extent->position.line, " and ",
                                   next->position.line, " share sectors of '", file->path(), "'"));
            return;
        }
    }
}

void note_oddities(const Image& image, std::vector<std::string>& notes) {
    if (image.descriptor.has_parent())
        notes.push_back(concat("'", image.path, "' is a snapshot of ",
                               image.descriptor.parent_file_name_hint.empty()
                                   ? "another image"
                                   : concat("'", printable(image.descriptor.parent_file_name_hint), "'"),
                               ", but its flat extents hide that entirely; it is not opened"));
    if (const auto filters = image.descriptor.ddb.get("iofilters"); filters && !filters->empty())
        notes.push_back(concat("I/O filters were active on '", image.path, "' (", printable(*filters),
                               "); newer data may be elsewhere"));
}

}  // namespace

Image read_image(const std::string& path, FileOpener& opener) {
    FilePtr file = opener.open_image(path);
    return {path, file, parse_descriptor(load_descriptor_text(*file, path), path)};
}

BlockMap map_image(const Image& image, FileOpener& opener, const ReadRules& rules,
                   std::vector<std::string>& notes) {
    BlockMap::Builder map;
    std::vector<std::pair<const File*, const ExtentDescriptor*>> used;
    std::vector<FilePtr> files;
    for (std::size_t i = 0; i < image.descriptor.extents.size(); ++i) {
        const ExtentDescriptor& extent = image.descriptor.extents[i];
        with_context(concat("extent ", i + 1, " (line ", extent.position.line, ")"), [&] {
            if (extent.access != Access::no_access) refuse_unmapped_type(extent);
            const FilePtr file = extent.file_name.empty() ? nullptr : open_extent_file(image, extent, opener);
            if (file && file->identity() == image.file->identity())
                throw Error(ErrorKind::format, concat("it names the descriptor itself as its data"));
            append_flat_extent(map, extent, file, /*depth=*/0, rules.allow_short);
            if (file) {
                used.emplace_back(file.get(), &extent);
                files.push_back(file);
            }
        });
    }
    note_shared_ranges(used, notes);
    note_oddities(image, notes);
    return std::move(map).build();
}

}  // namespace vmdkdm
