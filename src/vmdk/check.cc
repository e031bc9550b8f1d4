#include "vmdk/check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"
#include "vmdk/check_esx.h"
#include "vmdk/check_sparse.h"
#include "vmdk/flat.h"

namespace vmdkdm {
namespace {

// Where an image's descriptor begins in its file.
Bytes descriptor_offset(const Image& image) {
    return image.embedding ? to_bytes(image.embedding->descriptor_offset) : Bytes(0);
}

// The first line: what follows shows the place to people.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// A failure of the machine, and not of the image.
bool is_failure_of_system(const Error& error) {
    return error.kind() != ErrorKind::format && error.kind() != ErrorKind::not_found &&
           error.kind() != ErrorKind::refused;
}

// The files of the whole chain.
struct OpenedFiles {
    FileOpener& opener;
    SparseFiles sparse = {};
    std::set<FileIdentity> all = {};
};

class LinkCheck {
  public:
    LinkCheck(const Image& image, OpenedFiles& files, Findings& findings)
        : image_(image), files_(files), findings_(findings) {}

    void run() {
        files_.all.insert(image_.file->identity());
        note_descriptor_facts();
        const std::vector<ExtentDescriptor>& extents = image_.descriptor.extents;
        for (std::size_t i = 0; i < extents.size(); ++i) {
            extent_ = &extents[i];
            file_ = nullptr;
            try {
                check_extent(i == 0);
            } catch (const Error& error) {
                if (is_failure_of_system(error)) throw;
                take_error(i, error);
            } catch (const UnitOverflow&) {
                take_error(i, Error(ErrorKind::format, "it has a number that is too large"));
            }
        }
        check_shared_ranges();
    }

  private:
    template <class... Parts>
    void fault(FindingKind kind, const Parts&... parts) {
        findings_.faults.add(kind, image_.file->path(), descriptor_offset(image_),
                             [&] { return concat(parts...); });
    }
    template <class... Parts>
    void note(FindingKind kind, const Parts&... parts) {
        findings_.notes.add(kind, image_.file->path(), descriptor_offset(image_),
                            [&] { return concat(parts...); });
    }

    void note_descriptor_facts() {
        const Descriptor& descriptor = image_.descriptor;
        for (const auto& [key, value] : descriptor.header)
            if (equal_ignoring_case(key, "changeTrackPath") && !value.empty())
                note(FindingKind::descriptor, "change tracking was on (", printable(value),
                     "; it is not read)");
        if (const auto filters = descriptor.ddb.get("iofilters"); filters && !filters->empty())
            note(FindingKind::descriptor, "I/O filters were active (", printable(*filters),
                 "); newer data may be elsewhere");
        if (!descriptor.has_parent() && !descriptor.parent_file_name_hint.empty())
            note(FindingKind::chain, "it names a parent, '", printable(descriptor.parent_file_name_hint),
                 "', but its parentCID says that it has none");
    }

    // Of a file that was opened, a fault in it; else one of the descriptor that names it.
    void take_error(std::size_t index, const Error& error) {
        if (file_ != nullptr && error.kind() == ErrorKind::format)
            findings_.faults.add(FindingKind::header, file_->path(), Bytes(0),
                                 [&] { return text_about(*file_, error); });
        else
            fault(FindingKind::extent, "extent ", index + 1, " (line ", extent_->position.line,
                  "): ", first_line(error.what()));
    }

    void check_extent(bool is_first) {
        if (extent_->access == Access::no_access)
            note(FindingKind::extent, "the extent on line ", extent_->position.line, " is NOACCESS: its ",
                 to_bytes(extent_->size).count(), " bytes cannot be read");
        if (image_.embedding && is_first && image_.embedding->capacity > Sectors(0)) {
            check_embedding();
        } else if (is_flat(extent_->type) || extent_->access == Access::no_access) {
            if (!extent_->file_name.empty()) check_flat();
        } else if (extent_->type == ExtentType::sparse) {
            open_sparse();
            const SparseHeader header = read_sparse_header(*file_);
            check_capacity_of(header.capacity, Bytes(12));
            check_sparse_extent(*file_, header, findings_);
        } else if (extent_->type == ExtentType::vmfs_sparse) {
            open_sparse();
            const CowdHeader header = read_cowd_header(*file_);
            check_capacity_of(header.capacity, Bytes(12));
            check_cowd_extent(*file_, header, findings_);
        } else if (extent_->type == ExtentType::se_sparse) {
            open_sparse();
            const SeSparseHeader header = read_se_sparse_header(*file_);
            check_capacity_of(header.capacity, Bytes(16));
            check_se_sparse_extent(*file_, header, findings_);
        } else {
            throw Error(ErrorKind::format,
                        concat("it is of type ", to_string(extent_->type), ": ", why_unread(extent_->type)));
        }
    }

    // The extent that the descriptor is embedded in: its own header is believed, whatever the line says
    // (6.6).
    void check_embedding() {
        if (extent_->type != ExtentType::sparse)
            throw Error(ErrorKind::format, concat("it is of type ", to_string(extent_->type),
                                                  ", but the descriptor is embedded in a SPARSE extent"));
        files_.sparse.take(*image_.file, image_, *extent_);
        file_ = image_.file;
        const SparseHeader header = read_sparse_header(*file_);
        if (image_.descriptor.extents.size() > 1)
            check_capacity_of(header.capacity, Bytes(12));
        else if (header.capacity != extent_->size)
            note(FindingKind::extent, "the extent line says ", extent_->size.count(), " sectors, the header ",
                 header.capacity.count(), "; the header is believed");
        check_sparse_extent(*file_, header, findings_);
    }

    void open() {
        std::vector<std::string> notes;
        FilePtr file = open_extent_file(image_, *extent_, files_.opener, notes);
        for (const std::string& text : notes) note(FindingKind::extent, text);
        if (file->identity() == image_.file->identity()) refuse_descriptor_as_data(image_, *extent_);
        files_.all.insert(file->identity());
        file_ = std::move(file);
    }

    void open_sparse() {
        open();
        const FilePtr file =
            std::exchange(file_, nullptr);  // that it is taken twice is the descriptor's fault
        files_.sparse.take(*file, image_, *extent_);
        file_ = file;
    }

    void check_flat() {
        open();
        flat_.emplace_back(file_, extent_);
        const Bytes needed = to_bytes(extent_->offset + extent_->size);
        if (is_flat(extent_->type) && file_->size() < needed)
            findings_.faults.add(FindingKind::truncated, file_->path(), file_->size(), [&] {
                return concat("the file ends here, but the extent on line ", extent_->position.line,
                              " reaches to byte ", needed.count());
            });
    }

    void check_capacity_of(Sectors by_header, Bytes field) {
        const auto text = [&](std::string_view what) {
            return concat("the header says ", by_header.count(), " sectors, the extent line ",
                          extent_->size.count(), what);
        };
        if (by_header < extent_->size)
            findings_.faults.add(FindingKind::extent, file_->path(), field,
                                 [&] { return text(": data is missing"); });
        else if (by_header > extent_->size)
            findings_.notes.add(FindingKind::extent, file_->path(), field,
                                [&] { return text("; the line is believed"); });
    }

    void check_shared_ranges() {
        std::sort(flat_.begin(), flat_.end(), [](const auto& a, const auto& b) {
            return std::pair(a.first->identity(), a.second->offset) <
                   std::pair(b.first->identity(), b.second->offset);
        });
        for (std::size_t i = 1; i < flat_.size(); ++i) {
            const auto& [file, extent] = flat_[i - 1];
            const auto& [next_file, next] = flat_[i];
            const bool share = file->identity() == next_file->identity() && is_flat(extent->type) &&
                               is_flat(next->type) && extent->offset + extent->size > next->offset;
            if (share)
                findings_.faults.add(FindingKind::overlap, file->path(), to_bytes(next->offset),
                                     [line = extent->position.line, next_line = next->position.line] {
                                         return concat("the extents on lines ", line, " and ", next_line,
                                                       " of the descriptor share what follows");
                                     });
        }
    }

    const Image& image_;
    OpenedFiles& files_;
    Findings& findings_;
    const ExtentDescriptor* extent_ = nullptr;  // the one that is being checked
    FilePtr file_;                              // its file, once it is open
    std::vector<std::pair<FilePtr, const ExtentDescriptor*>> flat_;
};

void check_link_to_parent(const Image& child, const Image& parent, Findings& findings) {
    const Descriptor& above = child.descriptor;
    const Descriptor& below = parent.descriptor;
    if (below.cid != above.parent_cid)
        findings.faults.add(FindingKind::chain, child.file->path(), descriptor_offset(child), [&] {
            return concat("it was made on a parent with CID ", to_string(above.parent_cid), ", but '",
                          parent.file->path(), "' has CID ", to_string(below.cid),
                          ": that was written since");
        });
    const auto capacity = [](const Image& image) {
        const bool by_header =
            image.embedding && image.embedding->capacity > Sectors(0) && image.descriptor.extents.size() == 1;
        return by_header ? image.embedding->capacity : image.descriptor.capacity();
    };
    if (capacity(child) != capacity(parent))
        findings.notes.add(FindingKind::chain, child.file->path(), descriptor_offset(child), [&] {
            return concat("it has ", capacity(child).count(), " sectors, its parent '", parent.file->path(),
                          "' ", capacity(parent).count());
        });
}

void take_broken_chain(const PartialChain& partial, Findings& findings) {
    const Image& last = partial.chain.images.back();
    try {
        std::rethrow_exception(partial.broken);
    } catch (const Error& error) {
        if (is_failure_of_system(error)) throw;
        findings.faults.add(FindingKind::chain, last.file->path(), descriptor_offset(last),
                            [&] { return first_line(error.what()); });
    }
}

// Nothing when the descriptor, or the header that it is embedded behind, cannot be read.
std::optional<Image> read_or_report(const std::string& path, const FilePtr& file, CheckedImage& result) {
    try {
        return read_image(path, file);
    } catch (const Error& error) {
        if (is_failure_of_system(error)) throw;
        ++result.files;
        result.findings.faults.add(FindingKind::descriptor, file->path(), Bytes(0),
                                   [&] { return first_line(text_about(*file, error)); });
        return std::nullopt;
    }
}

}  // namespace

CheckedImage check_image(const std::string& path, FileOpener& opener, const ChainRules& rules) {
    CheckedImage result;
    const FilePtr file = opener.open_image(path);
    result.path = file->path();
    const std::optional<Image> image = read_or_report(path, file, result);
    if (!image) return result;

    std::vector<std::string> notes;
    PartialChain partial = read_partial_chain(*image, opener, rules, notes);
    std::vector<Image>& links = partial.chain.images;
    if (rules.layer >= links.size() && partial.broken) std::rethrow_exception(partial.broken);
    drop_newer_layers(partial.chain, path, rules.layer);
    result.path = links.front().file->path();
    OpenedFiles files{opener};
    for (std::size_t i = 0; i < links.size(); ++i) {
        LinkCheck(links[i], files, result.findings).run();
        if (i + 1 < links.size()) check_link_to_parent(links[i], links[i + 1], result.findings);
    }
    for (const std::string& note : notes)
        result.findings.notes.add(FindingKind::chain, links.back().file->path(),
                                  descriptor_offset(links.back()), [&] { return note; });
    if (partial.broken) take_broken_chain(partial, result.findings);
    result.files = files.all.size();
    result.chain = std::move(partial.chain);
    return result;
}

}  // namespace vmdkdm
