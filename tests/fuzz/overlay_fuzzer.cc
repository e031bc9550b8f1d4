// An overlay as the parent reads it: its header up to the first NUL of the input, and behind that the COW
// area. Of the header: either an Error, or one that prints to what it was read from. Of a file with such a
// header: either an Error, or changes that a write cannot take with it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "fuzz/check.h"
#include "fuzz/check_changes.h"
#include "fuzz/mutate_text.h"
#include "overlay/overlay_file.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using test::require;

FilePtr overlay_of(const OverlayHeader& header, std::string_view store) {
    std::string content = print_overlay_header(header);
    content.resize(static_cast<std::size_t>(overlay_cow_offset.count()));
    content += store.substr(
        0, static_cast<std::size_t>(std::min<std::uint64_t>(store.size(), header.limit.count())));
    return std::make_shared<test::MemoryFile>("/overlay", FileIdentity{1, 2}, std::move(content),
                                              overlay_cow_offset + header.limit);
}

void check_file(const OverlayHeader& header, std::string_view store) {
    const OverlayFile overlay = OverlayFile::read(overlay_of(header, store));
    require(overlay.header() == header, "the file has the header");
    try {
        const CowState state = overlay.cow_state();
        std::vector<std::string> notes;
        const Changes changes = read_changes(overlay, notes);
        require(changes.layer.capacity() == header.capacity, "the changes are of a disk of that size");
        require((state == CowState::untouched) == (changes.chunk == Sectors(0)),
                "an overlay that was never attached has no chunks");
        require(state == CowState::untouched || changes.chunk == header.chunk,
                "chunks are as the header says");
        test::require_apart(changes, overlay_cow_offset, header.limit);
        test::require_faults(changes);
    } catch (const Error& error) {
        require(error.kind() == ErrorKind::format, "a bad store is a format error");
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::string_view text = input.substr(0, input.find('\0'));
    try {
        const OverlayHeader header = parse_overlay_header(text);
        require(text.starts_with(print_overlay_header(header)), "what is read prints as it was");
        require(usable_limit(header.limit + to_bytes(header.chunk) + to_bytes(header.chunk), header.chunk) >
                    Bytes(0),
                "a limit can be used");
        require(whole_disk_limit(header.capacity, header.chunk) > to_bytes(header.capacity),
                "a whole disk takes more than its size");
        check_file(header, input.substr(std::min(input.size(), text.size() + 1)));
    } catch (const Error& error) {
        require(error.kind() == ErrorKind::format || error.kind() == ErrorKind::usage,
                "a bad header is a format error");
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_text(data, size, max_size, seed);
}
