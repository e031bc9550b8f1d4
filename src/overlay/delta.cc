#include "overlay/delta.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "compact/rebuild.h"

namespace vmdkdm {
namespace {

// What a virtual machine should find alike above and below. A lookup begins at the top of a chain (format
// reference, 5).
constexpr std::array hardware_keys{"adapterType",       "geometry.cylinders", "geometry.heads",
                                   "geometry.sectors",  "virtualHWVersion",   "logicalSectorSize",
                                   "physicalSectorSize"};

std::array<std::uint32_t, 4> random_numbers() {
    std::array<std::uint32_t, 4> numbers{};
    if (::getrandom(numbers.data(), sizeof numbers, 0) != static_cast<ssize_t>(sizeof numbers))
        throw system_error("no random numbers for a CID", errno);
    return numbers;
}

// ffffffff means no parent, fffffffe a disk that was never written, and VDDK writes 0 for any (11.1).
bool is_usable(ContentId cid, ContentId parent) {
    return cid.value != 0 && cid.value < 0xfffffffe && cid != parent;
}

std::optional<std::string> from_chain(const ImageChain& chain, const char* key) {
    for (const Image& image : chain.images)
        if (auto value = image.descriptor.ddb.get(key)) return value;
    return std::nullopt;
}

void write_at(const OutputFile& output, Bytes offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count =
            ::pwrite(output.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset.count()));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0)
            throw system_error(concat("cannot write '", output.path(), "' at byte ", offset.count()),
                               count == 0 ? EIO : errno);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += Bytes(static_cast<std::uint64_t>(count));
    }
}

}  // namespace

std::vector<GrainRange> changed_grains(const Layer& changes) {
    std::vector<GrainRange> grains;
    for (const auto& run : changes) {
        if (std::holds_alternative<Unallocated>(run.content)) continue;
        const std::uint64_t first = run.start.count() / delta_grain.count();
        const std::uint64_t end =
            ((run.start + run.length).count() + delta_grain.count() - 1) / delta_grain.count();
        // Two changes may lie in one grain.
        if (!grains.empty() && grains.back().first + grains.back().count >= first)
            grains.back().count = end - grains.back().first;
        else
            grains.push_back({first, end - first});
    }
    return grains;
}

BlockMap only_grains(const BlockMap& disk, const std::vector<GrainRange>& grains) {
    MapRebuilder rebuilt(disk);
    Sectors position;
    const auto zeros_up_to = [&](Sectors end) {
        if (end > position) rebuilt.keep({position, end - position, Zero{0}});
        position = std::max(position, end);
    };
    for (const GrainRange& range : grains) {
        zeros_up_to(Sectors(range.first * delta_grain.count()));
        const Sectors end =
            std::min(Sectors((range.first + range.count) * delta_grain.count()), disk.capacity());
        for (std::size_t index = disk.index_of(position); position < end; ++index) {
            const Run run = disk[index];
            Run part = without_first(run, position - run.start);
            part.length = std::min(part.length, end - position);
            rebuilt.keep(part);
            position += part.length;
        }
    }
    zeros_up_to(disk.capacity());
    return std::move(rebuilt).build();
}

DeltaDescriptor describe_delta(const ImageChain& chain, Sectors capacity, const std::string& path) {
    const Image& parent = chain.images.front();
    DeltaDescriptor delta;
    delta.parent_cid = parent.descriptor.cid;
    std::array<std::uint32_t, 4> numbers{};
    while (!is_usable(delta.cid, delta.parent_cid)) {
        numbers = random_numbers();
        delta.cid = ContentId{numbers[3]};
    }
    delta.parent_hint = parent_hint(parent.file->path(), path);
    delta.file_name = path.substr(path.rfind('/') + 1);
    delta.capacity = capacity;
    for (const char* key : hardware_keys)
        if (const auto value = from_chain(chain, key)) delta.ddb.emplace_back(key, *value);
    // Its last eight digits are the CID, as Workstation and ESXi have it.
    std::string content;
    for (const std::uint32_t number : numbers) content += to_string(ContentId{number});
    delta.ddb.emplace_back("longContentID", content);
    return delta;
}

CopyResult write_delta(const DeltaExtent& extent, const DeltaDescriptor& descriptor, const BlockMap& disk,
                       const std::vector<GrainRange>& grains, const OutputFile& output,
                       const CopyOptions& options, Progress& progress) {
    extent.write(
        print_delta_descriptor(descriptor),
        [&output](Bytes offset, std::span<const std::byte> bytes) { write_at(output, offset, bytes); });
    const CopyTarget target{output.fd(), output.path(), false, "",
                            [&extent](Sectors sector) { return extent.place_of(sector); }};
    return copy_disk(only_grains(disk, grains), &target, options, progress);
}

}  // namespace vmdkdm
