#include "vmdk/image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "base/text_cursor.h"
#include "vmdk/cowd.h"
#include "vmdk/descriptor_text.h"
#include "vmdk/file_name.h"
#include "vmdk/flat.h"
#include "vmdk/foreign_file.h"
#include "vmdk/se_sparse.h"

namespace vmdkdm {
namespace {

// Format reference, section 1: the first bytes of every kind of file that has a signature and holds no
// descriptor.
std::optional<std::string_view> undescribed_kind(std::span<const std::byte> head) {
    if (head.size() < 8) return std::nullopt;
    if (load_le32(head, 0) == 0x44574f43) return "an ESX sparse extent (COWD)";
    if (load_le64(head, 0) == 0xcafebabe) return "an seSparse extent";
    if (load_le32(head, 0) == 0xf61972a2) return "a change-tracking file (CTK), which holds no disk data";
    return std::nullopt;
}

// How much of a file is looked at to tell whether it is a descriptor.
constexpr std::size_t head_bytes = 64 << 10;

std::string read_text(const File& file, Bytes offset, std::size_t size) {
    std::string text(size, '\0');
    file.read_at(offset, std::as_writable_bytes(std::span(text)));
    return text;
}

DescriptorText load_descriptor_text(const File& file, const std::string& path) {
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(file.size().count(), max_descriptor_bytes));
    const std::string head = read_text(file, Bytes(0), std::min(size, head_bytes));
    if (const auto kind = undescribed_kind(std::as_bytes(std::span(head))))
        throw Error(ErrorKind::format, concat("it is ", *kind, ": name the descriptor that goes with it"));
    if (!looks_like_descriptor(descriptor_text(head).text))
        throw Error(ErrorKind::format, describe_foreign_file(file, path, std::as_bytes(std::span(head))));
    if (file.size() > Bytes(max_descriptor_bytes))
        throw Error(ErrorKind::format, concat("the descriptor is ", file.size().count(),
                                              " bytes long (at most ", max_descriptor_bytes, " are read)"));
    return descriptor_text(head + read_text(file, Bytes(head.size()), size - head.size()));
}

// Format reference, 6.7. An area of zeros means that there is none.
std::string load_embedded_text(const File& file, const SparseHeader& header) {
    const std::string piece = "it is a piece of a split disk: name the descriptor beside it";
    if (header.descriptor_offset == Sectors(0)) throw Error(ErrorKind::format, piece);
    const Sectors file_end = whole_sectors(file.size());
    if (header.descriptor_offset > file_end || header.descriptor_size > file_end - header.descriptor_offset ||
        header.descriptor_size > whole_sectors(Bytes(max_descriptor_bytes)))
        throw Error(ErrorKind::format, "the embedded descriptor does not lie inside the file");
    std::string text = read_text(file, to_bytes(header.descriptor_offset),
                                 static_cast<std::size_t>(to_bytes(header.descriptor_size).count()));
    if (text.find_first_not_of('\0') == std::string::npos) throw Error(ErrorKind::format, piece);
    return text;
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

void note_filters(const Image& image, std::vector<std::string>& notes) {
    if (const auto filters = image.descriptor.ddb.get("iofilters"); filters && !filters->empty())
        notes.push_back(concat("I/O filters were active on '", image.path, "' (", printable(*filters),
                               "); newer data may be elsewhere"));
}

// Each extent is open here, in the reader and in a loop device; what else is open comes in tens.
Error naming_open_files(const Error& error, const Image& image) {
    const std::string what = error.what();
    if (!what.ends_with(std::strerror(EMFILE))) return error;
    return {error.kind(),
            concat(what, ": the image's ", image.descriptor.extents.size(), " extents need a limit of ",
                   2 * image.descriptor.extents.size() + 64, " (see ulimit -n)")};
}

// Reads one image's extents, in the order of their lines.
class LayerReader {
  public:
    LayerReader(const Image& image, std::uint32_t depth, FileOpener& opener, const ReadRules& rules,
                std::vector<std::string>& notes, SparseFiles& sparse_files)
        : image_(image),
          depth_(depth),
          opener_(opener),
          rules_(rules),
          notes_(notes),
          sparse_files_(sparse_files) {}

    Layer read() {
        const std::vector<ExtentDescriptor>& extents = image_.descriptor.extents;
        expect_files();
        for (std::size_t i = 0; i < extents.size(); ++i)
            with_context(concat("extent ", i + 1, " (line ", extents[i].position.line, ")"),
                         [&] { take(extents[i], i == 0); });
        note_shared_ranges(flat_, notes_);
        note_filters(image_, notes_);
        return std::move(layer_).build();
    }

  private:
    bool is_embedded_in_first() const { return image_.embedding && image_.embedding->capacity > Sectors(0); }

    // An embedded descriptor's first extent is the file that it is embedded in, whatever name is written
    // there: files get renamed (format reference, 6.7). Its size is what the header says.
    void take(const ExtentDescriptor& extent, bool is_first) {
        if (is_first && is_embedded_in_first()) {
            if (extent.type != ExtentType::sparse)
                throw Error(ErrorKind::format, concat("it is of type ", to_string(extent.type),
                                                      ", but the descriptor is embedded in a SPARSE extent"));
            const Sectors size =
                image_.descriptor.extents.size() == 1 ? image_.embedding->capacity : extent.size;
            if (size != extent.size)
                notes_.push_back(concat("'", image_.path, "': the extent line says ", extent.size.count(),
                                        " sectors, the header ", size.count(), "; the header is believed"));
            sparse_files_.take(*image_.file, image_, extent);
            append_sparse(image_.file, read_sparse_header(*image_.file), size);
            return;
        }
        if (is_flat(extent.type) || extent.access == Access::no_access) {
            const FilePtr file = extent.file_name.empty() ? nullptr : open(extent);
            append_flat_extent(layer_, extent, file, depth_, rules_.allow_short);
            if (file) {
                flat_.emplace_back(file.get(), &extent);
                files_.push_back(file);
            }
        } else if (extent.type == ExtentType::sparse) {
            const FilePtr file = open_sparse(extent);
            append_sparse(file, read_sparse_header(*file), extent.size);
        } else if (extent.type == ExtentType::vmfs_sparse) {
            append_cowd_extent(layer_, open_sparse(extent), extent.size, depth_, notes_);
        } else if (extent.type == ExtentType::se_sparse) {
            append_se_sparse_extent(layer_, open_sparse(extent), extent.size, depth_, notes_);
        } else {
            throw Error(ErrorKind::format,
                        concat("it is of type ", to_string(extent.type), ": ", why_unread(extent.type)));
        }
    }

    // What open() will ask for; a name that needs a second try, or an error, upsets nothing but the order.
    void expect_files() const {
        const std::vector<ExtentDescriptor>& extents = image_.descriptor.extents;
        std::vector<std::string> names;
        for (std::size_t i = is_embedded_in_first() ? 1 : 0; i < extents.size(); ++i)
            if (!extents[i].file_name.empty())
                names.push_back(
                    file_name_candidates(extents[i].file_name, image_.descriptor.encoding, opener_).front());
        if (names.size() > 1) opener_.expect_beside(*image_.file, names);
    }

    FilePtr open(const ExtentDescriptor& extent) {
        FilePtr file = open_extent_file(image_, extent, opener_, notes_);
        if (file->identity() == image_.file->identity()) refuse_descriptor_as_data(image_, extent);
        return file;
    }

    FilePtr open_sparse(const ExtentDescriptor& extent) {
        FilePtr file = open(extent);
        sparse_files_.take(*file, image_, extent);
        return file;
    }

    void append_sparse(const FilePtr& file, const SparseHeader& header, Sectors size) {
        append_sparse_extent(layer_, file, header, size, depth_, {rules_.use_redundant}, notes_);
    }

    const Image& image_;
    std::uint32_t depth_;
    FileOpener& opener_;
    const ReadRules& rules_;
    std::vector<std::string>& notes_;
    Layer::Builder layer_;
    std::vector<std::pair<const File*, const ExtentDescriptor*>> flat_;
    std::vector<FilePtr> files_;
    SparseFiles& sparse_files_;
};

}  // namespace

Image read_image(const std::string& path, FileOpener& opener) {
    return read_image(path, opener.open_image(path));
}

Image read_image(const std::string& path, FilePtr file) {
    if (!is_sparse_extent(*file)) {
        const DescriptorText loaded = load_descriptor_text(*file, path);
        Descriptor descriptor = parse_descriptor(loaded.text, path);
        if (loaded.was_utf16) descriptor.encoding = "UTF-8";
        return {path, std::move(file), std::move(descriptor), std::nullopt};
    }
    SparseHeader header = read_sparse_header_at(*file, Bytes(0));
    const std::string text = load_embedded_text(*file, header);
    return {path, std::move(file), parse_descriptor(text, path, Place::embedded), header};
}

void SparseFiles::take(const File& file, const Image& image, const ExtentDescriptor& extent) {
    const auto [known, is_new] = uses_.try_emplace(file.identity(), Use{image.path, extent.position.line});
    if (is_new) return;
    const bool is_same_image = known->second.image == image.path;
    throw Error(ErrorKind::format,
                concat("'", file.path(), "' is already the extent on line ", known->second.line,
                       is_same_image ? "" : concat(" of '", known->second.image, "'")));
}

FilePtr open_extent_file(const Image& image, const ExtentDescriptor& extent, FileOpener& opener,
                         std::vector<std::string>& notes) {
    const std::string& written = extent.file_name;
    if (written.empty()) throw Error(ErrorKind::format, "the file name is empty");
    refuse_unreachable_name(written);
    std::optional<Error> first_error;
    // Nothing when it is not there, or only under a name that the rules forbid.
    const auto try_name = [&](const std::string& name) -> FilePtr {
        try {
            return opener.open_beside(*image.file, name);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::refused)
                throw naming_open_files(error, image);
            const bool says_more = first_error && first_error->kind() == ErrorKind::not_found &&
                                   error.kind() == ErrorKind::refused;
            if (!first_error || says_more) first_error = error;
            return nullptr;
        }
    };
    const std::vector<std::string> names = file_name_candidates(written, image.descriptor.encoding, opener);
    for (const std::string& name : names) {
        if (FilePtr file = try_name(name)) return file;
        if (first_error->kind() == ErrorKind::refused) break;
    }
    for (const std::string& name : names) {
        const std::optional<std::string> base_name = base_name_of_absolute(name);
        if (!base_name) continue;
        const std::optional<Error> of_written = first_error;
        if (FilePtr file = try_name(*base_name)) {
            notes.push_back(concat("the extent on line ", extent.position.line, " is '", printable(written),
                                   "'; '", file->path(), "' is read for it"));
            return file;
        }
        // What stands in the descriptor is what the user knows.
        first_error = of_written;
    }
    throw *first_error;
}

void refuse_descriptor_as_data(const Image& image, const ExtentDescriptor& extent) {
    if (image.embedding && is_flat(extent.type)) {
        const Sectors end = image.embedding->descriptor_offset + image.embedding->descriptor_size;
        if (extent.offset >= std::max(end, Sectors(1))) return;
    }
    throw Error(ErrorKind::format, "it names the descriptor itself as its data");
}

std::string_view why_unread(ExtentType type) {
    return type == ExtentType::vmfs_rdm
               ? "the data of a raw device mapping is on its LUN, which the descriptor does not name"
           : type == ExtentType::vsan_sparse ? "vSAN objects can be read on their host only"
                                             : "this version does not read it";
}

Layer read_layer(const Image& image, std::uint32_t depth, FileOpener& opener, const ReadRules& rules,
                 std::vector<std::string>& notes, SparseFiles& sparse_files) {
    return LayerReader(image, depth, opener, rules, notes, sparse_files).read();
}

}  // namespace vmdkdm
