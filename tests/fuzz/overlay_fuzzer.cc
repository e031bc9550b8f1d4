// The header of an overlay: either an Error, or one that prints to what it was read from.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "fuzz/check.h"
#include "fuzz/mutate_text.h"
#include "overlay/overlay_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    using test::require;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        const OverlayHeader header = parse_overlay_header(text);
        require(text.starts_with(print_overlay_header(header)), "what is read prints as it was");
        require(usable_limit(header.limit + to_bytes(header.chunk) + to_bytes(header.chunk), header.chunk) >
                    Bytes(0),
                "a limit can be used");
        require(whole_disk_limit(header.capacity, header.chunk) > to_bytes(header.capacity),
                "a whole disk takes more than its size");
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
