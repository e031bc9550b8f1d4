#include "attach/in_place.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/concat.h"
#include "base/error.h"
#include "vmdk/descriptor_text.h"
#include "vmdk/flat.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// Sparse extents could only be written where they are allocated already.
void refuse_sparse_extents(const Descriptor& descriptor) {
    for (const ExtentDescriptor& extent : descriptor.extents)
        if (!is_flat(extent.type))
            throw Error(ErrorKind::refused,
                        concat("--in-place needs a purely flat image: the extent on line ",
                               extent.position.line, " is of type ", to_string(extent.type)));
}

// No descriptor of a delta is longer; what is, need not be read to look for children.
constexpr std::uintmax_t max_delta_descriptor_bytes = 1 << 20;

void refuse_read_only_extents(const Descriptor& descriptor) {
    for (const ExtentDescriptor& extent : descriptor.extents)
        if (extent.access == Access::read_only)
            throw Error(ErrorKind::refused,
                        concat("--in-place: the extent on line ", extent.position.line, " is RDONLY"));
}

// VMware keeps a directory NAME.lck beside each file that a running machine uses, perhaps on another host.
void refuse_locked(const std::string& path) {
    const std::string lock = path + ".lck";
    std::error_code ignored;
    if (fs::exists(lock, ignored))
        throw Error(ErrorKind::busy, concat("--in-place: '", lock,
                                            "' says that a virtual machine uses the disk (if that "
                                            "is not so, remove it)"));
}

void refuse_written(const File& file, Kernel& kernel) {
    const std::vector<Holder> writers = kernel.writers(file);
    if (!writers.empty())
        throw Error(ErrorKind::busy,
                    concat("--in-place: '", file.path(), "' is open for writing by ", writers.front().what));
}

// Descriptors beside the image that name its content as their parent's.
std::vector<std::string> children_of(const Image& image) {
    std::vector<std::string> children;
    const fs::path path = image.file->path();
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(path.parent_path(), ignored)) {
        std::error_code gone;
        if (entry.path().extension() != ".vmdk" || entry.path() == path || !entry.is_regular_file(gone))
            continue;
        if (entry.file_size(gone) > max_delta_descriptor_bytes || gone) continue;
        std::ifstream in(entry.path(), std::ios::binary);
        const std::string text = descriptor_text({std::istreambuf_iterator<char>(in), {}}).text;
        if (!looks_like_descriptor(text)) continue;
        try {
            const Descriptor other = parse_descriptor(text, entry.path().string());
            if (other.has_parent() && other.parent_cid == image.descriptor.cid)
                children.push_back(entry.path().filename().string());
        } catch (const Error&) {
            continue;  // somebody else's broken descriptor is no child of ours
        }
    }
    return children;
}

}  // namespace

void check_in_place(const Image& image, const Plan& plan, Kernel& kernel, std::vector<std::string>& notes) {
    refuse_sparse_extents(image.descriptor);
    refuse_read_only_extents(image.descriptor);
    refuse_locked(image.file->path());
    for (const LowerPlan& lower : plan.lowers) {
        refuse_locked(lower.file->path());
        refuse_written(*lower.file, kernel);
    }
    if (image.descriptor.has_parent())
        notes.emplace_back("the image is a snapshot of another: what is written stays in this layer");
    for (const std::string& child : children_of(image))
        notes.push_back(
            concat("'", child, "' is a child of this image, and is damaged when this image is written"));
}

}  // namespace vmdkdm
