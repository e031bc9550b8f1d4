// Images of files in memory, and what must hold of them whichever readers are at work: an Error, or a map
// without gaps whose data lie inside the files, in no more runs than the files can claim; and `check` agrees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "fuzz/check.h"
#include "support/memory_files.h"
#include "vmdk/check.h"
#include "vmdk/image_chain.h"

namespace vmdkdm::test {

inline constexpr const char* fuzzed_image = "/vm/disk.vmdk";

/// A file of few bytes and many zeros, as an input has it: its size (4 bytes), and for each piece that is not
/// zeros its place in units of 64 bytes (2 bytes) and the 64 bytes.
struct PiecedFile {
    static constexpr std::size_t piece_bytes = 64;
    static constexpr std::uint64_t largest = std::uint64_t{4} << 20;

    PiecedFile(const std::uint8_t* data, std::size_t input_bytes) {
        std::span<const std::byte> left = std::as_bytes(std::span(data, input_bytes));
        if (left.size() < 4) return;
        size = Bytes(load_le32(left, 0) % (largest + 1));
        for (left = left.subspan(4); left.size() > 2;
             left = left.subspan(std::min(left.size(), piece_bytes + 2))) {
            const std::size_t place = load_le<std::uint16_t>(left, 0) * piece_bytes;
            const std::size_t count = std::min(left.size() - 2, piece_bytes);
            if (place + count > size.count()) continue;
            if (content.size() < place + count) content.resize(place + count);
            std::memcpy(content.data() + place, left.data() + 2, count);
        }
    }

    /// 0 beyond what there is.
    template <class Integer>
    Integer number_at(std::size_t offset) const {
        return content.size() < offset + sizeof(Integer)
                   ? Integer{0}
                   : load_le<Integer>(std::as_bytes(std::span(content)), offset);
    }

    std::string content;  // what follows it is zeros
    Bytes size;
};

inline void check_map_of_chain(const BlockMap& map, const ImageChain& chain, std::size_t input_bytes) {
    Sectors next;
    for (const Run& run : map) {
        require(run.start == next && run.length > Sectors(0), "the map has no gap and no empty run");
        next += run.length;
        require(depth_of(map, run.content) < chain.images.size(), "a run is of a layer that there is");
        if (const auto* stored = std::get_if<Stored>(&run.content))
            require(to_bytes(stored->sector + run.length) <= map.files().at(stored->file).file->size(),
                    "a stored run lies within its file");
        if (const auto* compressed = std::get_if<Compressed>(&run.content))
            require(to_bytes(compressed->sector) < map.files().at(compressed->file).file->size(),
                    "a compressed run begins within its file");
        if (const auto* unreadable = std::get_if<Unreadable>(&run.content))
            require(!map.reasons().at(unreadable->why).text.empty(), "an unreadable run has a reason");
    }
    const Image& top = chain.images.front();
    const bool by_header =
        top.embedding && top.embedding->capacity > Sectors(0) && top.descriptor.extents.size() == 1;
    require(next == map.capacity(), "the runs cover the disk");
    require(next == (by_header ? top.embedding->capacity : top.descriptor.capacity()),
            "the disk is as large as the image says");
    // Each entry of a table, each extent line and each layer's end can begin a run and end one.
    require(map.size() <= 2 * input_bytes + 2, "a small input gives few runs");
}

inline bool has_damage(const BlockMap& map) {
    return std::any_of(map.reasons().begin(), map.reasons().end(),
                       [](const Reason& reason) { return reason.kind == Reason::Kind::damage; });
}

/// What `check` says must agree with what the readers make of the same files.
inline void check_against_map(MemoryFiles& files, std::size_t input_bytes) {
    ChainRules rules;
    bool sound = false;
    bool checked = true;
    try {
        const CheckedImage result = check_image(fuzzed_image, files, rules);
        sound = result.findings.sound();
        for (const FindingList* list : {&result.findings.faults, &result.findings.notes})
            for (const Finding& finding : list->kept())
                require(!finding.text.empty() && finding.text.find_first_of("\n\r\x1b") == std::string::npos,
                        "a finding is one line of text");
    } catch (const Error&) {
        checked = false;
    }
    try {
        std::vector<std::string> notes;
        const ImageChain chain = read_chain(fuzzed_image, files, rules, notes);
        const BlockMap map = map_chain(chain, files, rules.read, notes);
        check_map_of_chain(map, chain, input_bytes);
        require(checked, "what can be mapped can be checked");
        require(!sound || !has_damage(map), "what is sound has no damaged run");
    } catch (const Error& error) {
        require(std::string_view(error.what()) != "", "an error has a text");
        require(!sound, "what is sound can be mapped");
    }
}

/// The rules that look past faults.
inline void map_with_all_options(MemoryFiles& files, std::size_t input_bytes) {
    ChainRules rules;
    rules.ignore_cid = true;
    rules.read.use_redundant = true;
    rules.read.allow_short = true;
    try {
        std::vector<std::string> notes;
        const ImageChain chain = read_chain(fuzzed_image, files, rules, notes);
        check_map_of_chain(map_chain(chain, files, rules.read, notes), chain, input_bytes);
    } catch (const Error&) {
    }
}

inline void check_files(MemoryFiles& files, std::size_t input_bytes) {
    check_against_map(files, input_bytes);
    map_with_all_options(files, input_bytes);
}

/// One extent file below a descriptor with a line for it.
inline void check_extent_file(std::string_view word, std::uint64_t capacity, PiecedFile file,
                              std::size_t input_bytes) {
    MemoryFiles files;
    const std::uint64_t size = std::clamp(capacity, std::uint64_t{1}, max_capacity.count());
    files.add(fuzzed_image,
              concat("version=1\nCID=1\nparentCID=ffffffff\nRW ", size, " ", word, " \"data\"\n"));
    files.add_with_tail("/vm/data", std::move(file.content), file.size);
    check_files(files, input_bytes);
}

}  // namespace vmdkdm::test
