// Images of files in memory, and what must hold of them whichever readers are at work: an Error, or a map
// without gaps whose data lie inside the files, in no more runs than the files can claim; and `check` agrees.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "fuzz/check.h"
#include "fuzz/pieced_file.h"
#include "support/memory_files.h"
#include "vmdk/check.h"
#include "vmdk/image_chain.h"

namespace vmdkdm::test {

inline constexpr const char* fuzzed_image = "/vm/disk.vmdk";

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

inline void check_finding(const Finding& finding) {
    require(!finding.text.empty() && finding.text.find_first_of("\n\r\x1b") == std::string::npos,
            "a finding is one line of text");
    require(to_string(finding.kind) != "?", "a finding's kind has a word");
}

/// What `check` says must agree with what the readers make of the same files.
inline void check_against_map(FileOpener& files, const ChainRules& rules, std::size_t input_bytes) {
    bool sound = false;
    bool checked = true;
    try {
        const CheckedImage result = check_image(fuzzed_image, files, rules);
        sound = result.findings.sound();
        for (const FindingList* list : {&result.findings.faults, &result.findings.notes})
            for (const Finding& finding : list->kept()) check_finding(finding);
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

/// With the rules that look past faults.
inline void map_with_all_options(FileOpener& files, ChainRules rules, std::size_t input_bytes) {
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

inline void check_files(FileOpener& files, std::size_t input_bytes, const ChainRules& rules = {}) {
    check_against_map(files, rules, input_bytes);
    map_with_all_options(files, rules, input_bytes);
}

/// One extent file below a descriptor with a line for it.
inline MemoryFiles files_of_extent(std::string_view word, std::uint64_t capacity, const PiecedFile& file) {
    MemoryFiles files;
    const std::uint64_t size = std::clamp(capacity, std::uint64_t{1}, max_capacity.count());
    files.add(fuzzed_image,
              concat("version=1\nCID=1\nparentCID=ffffffff\nRW ", size, " ", word, " \"data\"\n"));
    files.add_with_tail("/vm/data", file.content(), file.size);
    return files;
}

inline void check_extent_file(std::string_view word, std::uint64_t capacity, const PiecedFile& file,
                              std::size_t input_bytes) {
    MemoryFiles files = files_of_extent(word, capacity, file);
    check_files(files, input_bytes);
}

}  // namespace vmdkdm::test
