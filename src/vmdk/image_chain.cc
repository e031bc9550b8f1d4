#include "vmdk/image_chain.h"

#include <algorithm>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"
#include "vmdk/file_name.h"
#include "vmdk/flat.h"

namespace vmdkdm {
namespace {

struct SplitPath {
    std::string directory;  // the last one only: "base" of /vms/base/disk.vmdk
    std::string base_name;
};

SplitPath split(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return {"", path};
    const std::string above = path.substr(0, slash);
    const std::size_t before = above.rfind('/');
    return {before == std::string::npos ? above : above.substr(before + 1), path.substr(slash + 1)};
}

// "[datastore1] dir/disk.vmdk" names a place that no host but ESXi's knows; what follows may exist here too.
std::string without_datastore(const std::string& hint) {
    if (!hint.starts_with('[')) return hint;
    const std::size_t close = hint.find(']');
    if (close == std::string::npos) return hint;
    return std::string(trim(std::string_view(hint).substr(close + 1)));
}

[[noreturn]] void refuse_return_to(const Image& link) {
    throw Error(ErrorKind::format, concat("the chain of parents comes back to '", link.path, "'"));
}

// The opener knows not that the name is a parent's, for which there is an option that also looks there.
Error naming_search_dir(const Error& error) {
    constexpr std::string_view of_extents = "--allow-path";
    std::string text = error.what();
    const std::size_t at = text.rfind(of_extents);
    if (at != std::string::npos) text.replace(at, of_extents.size(), "--search-dir");
    return {error.kind(), text};
}

class ParentFinder {
  public:
    ParentFinder(const Image& child, FileOpener& opener, const ChainRules& rules)
        : child_(child), opener_(opener), rules_(rules) {}

    // The parent; if none has the right CID, the first of those that there are.
    Image find() {
        const std::string& hint = child_.descriptor.parent_file_name_hint;
        if (hint.empty())
            throw Error(ErrorKind::format, concat("'", child_.path, "' has a parent (CID ", wanted(),
                                                  "), but does not say where it is"));
        with_context(concat("the parent of '", child_.path, "'"), [&] { refuse_unreachable_name(hint); });
        for (const std::string& name : file_name_candidates(hint, child_.descriptor.encoding, opener_))
            for (const std::string& candidate : parent_candidates(name, rules_.search_dirs))
                if (std::optional<Image> parent = try_candidate(candidate, candidate == name))
                    return std::move(*parent);
        if (misfit_) return std::move(*misfit_);
        if (refused_) throw *refused_;
        throw Error(ErrorKind::not_found, concat("the parent '", printable(hint), "' of '", child_.path,
                                                 "' (CID ", wanted(), ") is missing (see --search-dir)"));
    }

  private:
    std::string wanted() const { return to_string(child_.descriptor.parent_cid); }

    // `as_hinted`: the name is what the hint says, and not a guess made of it.
    std::optional<Image> try_candidate(const std::string& name, bool as_hinted) {
        try {
            FilePtr file = opener_.open_beside(*child_.file, name);
            // A clone often has the file name, and a fresh one also the CID, of what it was cloned from.
            if (file->identity() == child_.file->identity()) {
                if (as_hinted) refuse_return_to(child_);
                return std::nullopt;
            }
            std::string path = file->path();
            Image parent = with_context(concat("parent '", path, "'"),
                                        [&] { return read_image(path, std::move(file)); });
            if (parent.descriptor.cid == child_.descriptor.parent_cid) return parent;
            if (!misfit_) misfit_ = std::move(parent);
        } catch (const Error& error) {
            // A name that is not there, or that the rules forbid, leaves the next one to be tried; a file
            // that is there and is broken is the answer.
            const bool is_wild_guess = !as_hinted && name.starts_with("../");
            if (error.kind() == ErrorKind::refused && !refused_ && !is_wild_guess)
                refused_ = naming_search_dir(error).within(concat("the parent of '", child_.path, "'"));
            if (error.kind() != ErrorKind::refused && error.kind() != ErrorKind::not_found) throw;
        }
        return std::nullopt;
    }

    const Image& child_;
    FileOpener& opener_;
    const ChainRules& rules_;
    std::optional<Image> misfit_;
    std::optional<Error> refused_;
};

void refuse_loop(const std::vector<Image>& chain, const Image& parent) {
    for (const Image& link : chain)
        if (link.file->identity() == parent.file->identity()) refuse_return_to(link);
    if (chain.size() == max_links)
        throw Error(ErrorKind::format, concat("the chain has more than ", max_links, " links"));
}

// A parent that was written since the snapshot was made.
void refuse_or_note_cids(const std::vector<Image>& links, bool ignore_cid, std::vector<std::string>& notes) {
    for (std::size_t i = 1; i < links.size(); ++i) {
        const Image& child = links[i - 1];
        const Image& parent = links[i];
        if (parent.descriptor.cid == child.descriptor.parent_cid) continue;
        const std::string wanted = to_string(child.descriptor.parent_cid);
        const std::string found = to_string(parent.descriptor.cid);
        if (!ignore_cid)
            throw Error(ErrorKind::format,
                        concat("'", parent.path, "' is not what '", child.path, "' was made on: its CID is ",
                               found, ", expected ", wanted, " (it was written since; see --ignore-cid)"));
        notes.push_back(concat("'", parent.path, "' has CID ", found, ", not the ", wanted, " that '",
                               child.path, "' was made on; the disk's content may be wrong"));
    }
}

// A delta of flat extents hides its parent entirely.
bool shows_parent(const Image& image) {
    return std::any_of(image.descriptor.extents.begin(), image.descriptor.extents.end(),
                       [](const ExtentDescriptor& extent) {
                           return !is_flat(extent.type) && extent.access != Access::no_access;
                       });
}

}  // namespace

std::vector<std::string> parent_candidates(const std::string& hint,
                                           const std::vector<std::string>& search_dirs) {
    std::vector<std::string> candidates;
    const auto add = [&candidates](const std::string& candidate) {
        if (!candidate.empty() &&
            std::find(candidates.begin(), candidates.end(), candidate) == candidates.end())
            candidates.push_back(candidate);
    };
    add(hint);
    // qemu-img create -b file:base.vmdk
    constexpr std::string_view protocol = "file:";
    std::string path = without_datastore(hint.starts_with(protocol) ? hint.substr(protocol.size()) : hint);
    add(path);
    std::replace(path.begin(), path.end(), '\\', '/');
    add(path);
    const SplitPath parts = split(path);
    add(parts.base_name);
    if (!parts.directory.empty()) add(concat("../", parts.directory, "/", parts.base_name));
    for (const std::string& directory : search_dirs) {
        if (!path.starts_with('/')) add(concat(directory, "/", path));
        if (!parts.directory.empty()) add(concat(directory, "/", parts.directory, "/", parts.base_name));
        add(concat(directory, "/", parts.base_name));
    }
    return candidates;
}

void drop_newer_layers(ImageChain& chain, const std::string& path, unsigned layer) {
    std::vector<Image>& links = chain.images;
    if (layer >= links.size())
        throw Error(ErrorKind::usage, concat("--layer ", layer, ": the chain of '", path, "' has ",
                                             links.size(), " layers, 0 to ", links.size() - 1));
    links.erase(links.begin(), links.begin() + layer);
}

PartialChain read_partial_chain(Image image, FileOpener& opener, const ChainRules& rules,
                                std::vector<std::string>& notes) {
    PartialChain partial;
    std::vector<Image>& links = partial.chain.images;
    links.push_back(std::move(image));
    while (links.back().descriptor.has_parent()) {
        if (links.size() > rules.layer && !shows_parent(links.back())) {
            const std::string& hint = links.back().descriptor.parent_file_name_hint;
            notes.push_back(concat("'", links.back().path, "' is a snapshot of ",
                                   hint.empty() ? "another image" : concat("'", printable(hint), "'"),
                                   ", but its flat extents hide that entirely; it is not opened"));
            break;
        }
        try {
            Image parent = ParentFinder(links.back(), opener, rules).find();
            refuse_loop(links, parent);
            links.push_back(std::move(parent));
        } catch (const Error&) {
            partial.broken = std::current_exception();
            break;
        }
    }
    return partial;
}

PartialChain read_readable_chain(const std::string& path, FileOpener& opener, const ChainRules& rules,
                                 std::vector<std::string>& notes) {
    PartialChain partial = read_partial_chain(read_image(path, opener), opener, rules, notes);
    try {
        refuse_or_note_cids(partial.chain.images, rules.ignore_cid, notes);
    } catch (const Error&) {
        partial.broken = std::current_exception();
    }
    const bool is_there = rules.layer < partial.chain.images.size();
    if (partial.broken && !is_there) std::rethrow_exception(partial.broken);
    drop_newer_layers(partial.chain, path, rules.layer);
    return partial;
}

ImageChain read_chain(const std::string& path, FileOpener& opener, const ChainRules& rules,
                      std::vector<std::string>& notes) {
    PartialChain partial = read_readable_chain(path, opener, rules, notes);
    if (partial.broken) std::rethrow_exception(partial.broken);
    return std::move(partial.chain);
}

BlockMap map_chain(const ImageChain& chain, FileOpener& opener, const ReadRules& rules,
                   std::vector<std::string>& notes) {
    std::vector<Layer> layers;
    SparseFiles sparse_files;
    for (std::uint32_t depth = 0; depth < chain.images.size(); ++depth) {
        const Image& image = chain.images[depth];
        const auto read = [&] { return read_layer(image, depth, opener, rules, notes, sparse_files); };
        layers.push_back(depth == 0 ? read() : with_context(concat("parent '", image.path, "'"), read));
        const Sectors size = layers.back().capacity();
        if (depth > 0 && size != layers[depth - 1].capacity())
            notes.push_back(concat("'", image.path, "' has ", size.count(), " sectors, its child ",
                                   layers[depth - 1].capacity().count(),
                                   size < layers[depth - 1].capacity()
                                       ? "; beyond the parent's end there are zeros"
                                       : "; the rest of the parent is not seen"));
    }
    return flatten(std::move(layers));
}

}  // namespace vmdkdm
