// A descriptor of a stranger, from its text to the plan: whatever it says, either an Error or a disk without
// gaps.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/escaped.h"
#include "fuzz/image_files.h"
#include "fuzz/mutate_text.h"
#include "map/read.h"
#include "plan/names.h"
#include "plan/plan.h"
#include "support/map_image.h"
#include "support/memory_files.h"
#include "vmdk/file_name.h"
#include "vmdk/image.h"

namespace vmdkdm {
namespace {

using test::MemoryFile;
using test::require;

constexpr const char* image_path = "/vm/disk.vmdk";

// Has a file for nearly every name; which size and kind it has, or how it fails, follows from the name.
class AnyFiles : public FileOpener {
  public:
    explicit AnyFiles(std::string_view text)
        : image_(std::make_shared<MemoryFile>(image_path, FileIdentity{1, 1}, std::string(text),
                                              Bytes(text.size()))) {}

    FilePtr open_image(const std::string&) override { return image_; }

    FilePtr open_beside(const File& from, const std::string& name) override {
        require(from.path() == image_path, "a name is asked for from the image");
        require(!name.empty(), "no empty name is opened");
        require(name.find('\0') == std::string::npos, "no name with a NUL is opened");
        for (const char c : name)
            require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f,
                    "no name with a control character is opened");
        if (name == "disk.vmdk") return image_;
        const std::uint64_t hash = std::hash<std::string>{}(name);
        switch (hash % 8) {
            case 0:
                throw Error(ErrorKind::not_found, "no such file");
            case 1:
                throw Error(ErrorKind::refused, "outside");
            case 2:
                return file(name, hash, Bytes(hash >> 40), FileKind::regular);
            case 3:
                return file(name, hash, to_bytes(max_capacity), FileKind::block_device);
            default:
                return file(name, hash, to_bytes(max_capacity), FileKind::regular);
        }
    }

  private:
    static FilePtr file(const std::string& name, std::uint64_t hash, Bytes size, FileKind kind) {
        return std::make_shared<MemoryFile>("/vm/" + name, FileIdentity{2, hash}, "EFI PART", size, kind);
    }

    FilePtr image_;
};

void check_descriptor(const Descriptor& descriptor) {
    require(descriptor.version >= 1 && descriptor.version <= 3, "the version is known");
    require(!descriptor.extents.empty() && descriptor.extents.size() <= max_extents,
            "there are extents, within bounds");
    Sectors sum;
    for (const ExtentDescriptor& extent : descriptor.extents) {
        require(extent.size > Sectors(0), "no extent is empty");
        require(extent.offset + extent.size <= max_capacity, "an extent ends within bounds");
        require(to_string(extent.access) != "?" && to_string(extent.type) != "?", "its words can be said");
        require(extent.position.line > 0 && extent.position.column > 0, "an extent knows its line");
        const bool stores = extent.type != ExtentType::zero && extent.access != Access::no_access;
        require(!stores || !extent.file_name.empty(), "an extent that stores bytes names a file");
        sum += extent.size;
    }
    require(sum <= max_capacity && sum == descriptor.capacity(), "the capacity is the sum, within bounds");
}

void check_map(const BlockMap& map, const Descriptor& descriptor) {
    require(map.capacity() == descriptor.capacity(), "the map is as long as the disk");
    Sectors next;
    for (const Run& run : map) {
        require(run.start == next && run.length > Sectors(0), "the map has no gap and no empty run");
        require(map.index_of(run.start) == map.index_of(run.start + run.length - Sectors(1)),
                "a run is found");
        if (const auto* stored = std::get_if<Stored>(&run.content))
            require(to_bytes(stored->sector + run.length) <= map.files().at(stored->file).file->size(),
                    "a stored run lies within its file");
        if (const auto* unreadable = std::get_if<Unreadable>(&run.content))
            require(!map.reasons().at(unreadable->why).text.empty(), "an unreadable run has a reason");
        next += run.length;
    }
    require(next == map.capacity(), "the runs cover the disk");
}

void check_plan(const BlockMap& map, bool in_place) {
    PlanOptions options;
    options.name = "fuzz";
    options.id = "1.1";
    options.loops = 8;
    options.in_place = in_place;
    options.logical_sector_size = sector_size_by_gpt(map, 512);
    const Plan plan = make_plan(map, options);
    require(plan.disk.table.length() == map.capacity(), "the table covers the disk");
    for (const TableLine& line : plan.disk.table.lines())
        require(plan.disk.read_only || std::holds_alternative<LinearTarget>(line.target),
                "only what is stored in a file is writable");
    std::vector<DevicePlace> places;
    for (unsigned i = 0; i < plan.lowers.size(); ++i) places.push_back({{7, i}, Sectors(0)});
    const Table bound = plan.disk.table.bind(places);
    require(Table::parse(bound.print()) == bound, "the table reads back");
    require(!print_concise(plan).empty(), "the table prints in one line");
}

void check_findings(std::string_view text) {
    AnyFiles files(text);
    const Findings findings = check_image(image_path, files, {}).findings;
    for (const FindingList* list : {&findings.faults, &findings.notes})
        for (const Finding& finding : list->kept()) test::check_finding(finding);
}

void check_disk(std::string_view text, bool allow_short) {
    AnyFiles files(text);
    std::vector<std::string> notes;
    const Image image = read_image(image_path, files);
    const BlockMap map = map_image(image, files, ReadRules{allow_short}, notes);
    check_map(map, image.descriptor);
    std::byte first{};
    try {
        read_disk(map, Bytes(0), std::span(&first, 1));
    } catch (const Error&) {
    }
    check_plan(map, false);
    check_plan(map, true);
}

// Time that grows with the square of a text is not to be seen in a text of some kilobytes.
void parse_many_times_over(std::string_view text) {
    std::string long_text;
    while (long_text.size() < max_descriptor_bytes / 4) long_text.append(text);
    parse_descriptor(long_text, "fuzz.vmdk");
}

// Runs `body`; an Error is an answer like any other, as long as it says something.
template <class Body>
void allow_errors(Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        const std::string_view message = error.what();
        require(!message.empty(), "an error has a text");
        require(!error.has_lines() || escaped_lines(message) == message, "an error's lines are its own");
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    looks_like_descriptor(text);
    allow_errors([&] {
        const Descriptor descriptor = parse_descriptor(text, "fuzz.vmdk");
        check_descriptor(descriptor);
        for (const ExtentDescriptor& extent : descriptor.extents)
            test::require(!file_name_candidates(extent.file_name, descriptor.encoding).empty(),
                          "every name has a candidate");
    });
    if (size > 0 && size % 64 == 0) allow_errors([&] { parse_many_times_over(text); });
    allow_errors([&] { check_findings(text); });
    allow_errors([&] { check_disk(text, false); });
    allow_errors([&] { check_disk(text, true); });
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_text(data, size, max_size, seed);
}
