// The COW area of an overlay: the capacity of the disk (8 bytes), then a file as image_files.h has it.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/little_endian.h"
#include "fuzz/check_changes.h"
#include "fuzz/image_files.h"
#include "fuzz/mutate_extent.h"
#include "overlay/changes.h"

namespace vmdkdm {
namespace {

void check_changes(const FilePtr& file, Sectors capacity, std::size_t input_bytes) {
    std::vector<std::string> notes;
    const Changes changes = read_changes(file, Bytes(0), file->size(), capacity, notes);
    Sectors next;
    std::size_t changed = 0;
    for (const auto& run : changes.layer) {
        test::require(run.start == next && run.length > Sectors(0), "the layer has no gap and no empty run");
        next += run.length;
        changed += !std::holds_alternative<Unallocated>(run.content);
        if (const auto* stored = std::get_if<Stored>(&run.content))
            test::require(to_bytes(stored->sector + run.length) <= file->size(),
                          "a chunk lies within the file");
    }
    test::require(next == capacity, "the layer is as large as the disk");
    test::require(changed <= changes.chunk_count, "no more is changed than is listed");
    // Each entry of 16 bytes has a byte that is not zero, and 64 bytes of input make 64 of the file.
    test::require(changes.chunk_count <= input_bytes, "a small input gives few chunks");
    test::require(changes.chunk_count == 0 || changes.used > Bytes(0), "what is changed takes room");
    test::require_apart(changes, Bytes(0), file->size());
    test::require_faults(changes);
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    if (size < 8) return 0;
    const Sectors capacity(std::clamp(load_le64(std::as_bytes(std::span(data, size)), 0), std::uint64_t{1},
                                      max_capacity.count()));
    const test::PiecedFile pieced(data + 8, size - 8);
    test::MemoryFiles files;
    const FilePtr file = files.add_with_tail("/overlay", pieced.content(), pieced.size);
    try {
        check_changes(file, capacity, size);
    } catch (const Error& error) {
        test::require(std::string_view(error.what()).starts_with("'/overlay': "), "an error names the file");
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_extent(vmdkdm::test::exception_list, data, size, max_size, seed);
}
