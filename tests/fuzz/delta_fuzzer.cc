// A snapshot delta as we write it: read back by the readers it has the same grains in the same places, the
// descriptor that it was given, and nothing that `check` would find fault with.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "fuzz/check.h"
#include "fuzz/written_file.h"
#include "support/memory_files.h"
#include "vmdk/check.h"
#include "vmdk/delta_writer.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {
namespace {

using test::require;
using test::WrittenFile;

// The delta at /vm/delta.vmdk, and below it a parent of the same size.
class DeltaFiles : public FileOpener {
  public:
    DeltaFiles(FilePtr delta, const DeltaDescriptor& of_delta) : delta_(std::move(delta)) {
        parents_.add("/vm/parent.vmdk",
                     concat("version=1\nCID=", to_string(of_delta.parent_cid), "\nparentCID=ffffffff\nRW ",
                            of_delta.capacity.count(), " FLAT \"flat\" 0\n"));
        parents_.add_hole("/vm/flat", to_bytes(of_delta.capacity));
    }
    FilePtr open_image(const std::string& path) override {
        return path == delta_->path() ? delta_ : parents_.open_image(path);
    }
    FilePtr open_beside(const File& from, const std::string& name) override {
        return parents_.open_beside(from, name);
    }

  private:
    FilePtr delta_;
    test::MemoryFiles parents_;
};

std::vector<GrainRange> any_grains(FuzzedDataProvider& bytes, std::uint64_t grains) {
    std::vector<GrainRange> ranges;
    for (std::uint64_t next = 0; bytes.remaining_bytes() > 0 && next < grains;) {
        const bool is_far = bytes.ConsumeIntegralInRange<unsigned>(0, 7) == 0;
        const std::uint64_t first = bytes.ConsumeIntegralInRange<std::uint64_t>(
            next, is_far ? grains - 1 : std::min(grains - 1, next + 600));
        const std::uint64_t count =
            bytes.ConsumeIntegralInRange<std::uint64_t>(1, std::min<std::uint64_t>(grains - first, 1500));
        ranges.push_back({first, count});
        next = first + count;
    }
    return ranges;
}

void check_descriptor(const DeltaDescriptor& written, const Descriptor& read) {
    require(read.cid == written.cid && read.parent_cid == written.parent_cid, "the content ids read back");
    require(read.parent_file_name_hint == written.parent_hint, "the hint reads back");
    require(read.extents.size() == 1 && read.extents[0].size == written.capacity &&
                read.extents[0].file_name == written.file_name,
            "the extent reads back");
    auto next = written.ddb.begin();
    for (const KeyValue& entry : read.ddb.entries()) {
        next = std::find(next, written.ddb.end(), entry);
        require(next != written.ddb.end(), "no key of the hardware is made up");
        ++next;
    }
}

void check_layer(const Layer& layer, const DeltaExtent& extent, const std::vector<GrainRange>& grains) {
    auto range = grains.begin();
    Sectors next;
    for (const auto& run : layer) {
        require(run.start == next && run.length > Sectors(0), "the layer has no gap and no empty run");
        next += run.length;
        if (std::holds_alternative<Unallocated>(run.content)) {
            require(range == grains.end() || next <= Sectors(range->first * delta_grain.count()),
                    "no grain is left out");
            continue;
        }
        // Ranges that follow each other are one run.
        require(range != grains.end() && run.start == Sectors(range->first * delta_grain.count()),
                "a run begins where a range of grains does");
        require(std::get<Stored>(run.content).sector == extent.place_of(run.start),
                "a grain is in its place");
        Sectors end;
        do {
            end = std::min(Sectors((range->first + range->count) * delta_grain.count()), layer.capacity());
            ++range;
        } while (end < next && range != grains.end() && Sectors(range->first * delta_grain.count()) == end);
        require(end == next, "a run ends where a range of grains does");
    }
    require(range == grains.end(), "no grain is left out");
}

void check_extent(FuzzedDataProvider& bytes) {
    DeltaDescriptor descriptor;
    descriptor.capacity =
        Sectors(bytes.ConsumeBool() ? bytes.ConsumeIntegralInRange<std::uint64_t>(1, 1 << 26)
                                    : bytes.ConsumeIntegralInRange<std::uint64_t>(1, 1 << 20));
    descriptor.cid = ContentId{bytes.ConsumeIntegral<std::uint32_t>()};
    descriptor.parent_cid = ContentId{bytes.ConsumeIntegral<std::uint32_t>()};
    descriptor.file_name = "d" + bytes.ConsumeRandomLengthString(40);
    const bool has_good_hint = bytes.ConsumeIntegralInRange<unsigned>(0, 3) != 0;
    descriptor.parent_hint = has_good_hint ? "parent.vmdk" : bytes.ConsumeRandomLengthString(40);
    for (unsigned i = 0, count = bytes.ConsumeIntegralInRange<unsigned>(0, 4); i < count; ++i) {
        std::string key = bytes.ConsumeRandomLengthString(12);
        std::string value = bytes.ConsumeRandomLengthString(bytes.ConsumeBool() ? 12 : 4000);
        descriptor.ddb.emplace_back(std::move(key), std::move(value));
    }
    const std::uint64_t all = (descriptor.capacity.count() + delta_grain.count() - 1) / delta_grain.count();
    const std::vector<GrainRange> grains = any_grains(bytes, all);

    const DeltaExtent extent(descriptor.capacity, grains);
    const auto file = std::make_shared<WrittenFile>("/vm/delta.vmdk", FileIdentity{7, 7});
    file->set_size(extent.size());
    extent.write(print_delta_descriptor(descriptor),
                 [&](Bytes offset, std::span<const std::byte> piece) { file->put(offset, piece); });
    require(file->end() <= extent.size(), "nothing is written behind the delta's end");

    DeltaFiles files(file, descriptor);
    std::vector<std::string> notes;
    const Image image = read_image("/vm/delta.vmdk", files);
    check_descriptor(descriptor, image.descriptor);
    SparseFiles sparse_files;
    check_layer(read_layer(image, 0, files, {}, notes, sparse_files), extent, grains);
    require(notes.empty(), "there is nothing to say about a delta of ours");
    if (!has_good_hint) return;
    const Findings findings = check_image("/vm/delta.vmdk", files, {}).findings;
    require(findings.sound() && findings.notes.count() == 0, "check finds nothing");
}

// The hint leads from the delta to its parent.
void check_hint(FuzzedDataProvider& bytes) {
    namespace fs = std::filesystem;
    const auto any_path = [&bytes] {
        return fs::path("/" + bytes.ConsumeRandomLengthString(30)).lexically_normal().string();
    };
    const std::string parent = any_path();
    const std::string delta = any_path();
    if (parent.starts_with("//") || delta.starts_with("//") || parent.ends_with('/') || delta.ends_with('/'))
        return;
    if (parent == delta || parent.find('\0') != std::string::npos) return;
    const std::string hint = parent_hint(parent, delta);
    require((fs::path(delta).parent_path() / hint).lexically_normal() == parent,
            "the hint leads to the parent");
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    FuzzedDataProvider bytes(data, size);
    if (bytes.ConsumeIntegralInRange<unsigned>(0, 7) == 0) {
        check_hint(bytes);
        return 0;
    }
    try {
        check_extent(bytes);
    } catch (const Error& error) {
        test::require(error.kind() == ErrorKind::refused,
                      "what cannot be written is refused, and nothing else is");
    }
    return 0;
}
