// A streamOptimized file below a text descriptor: grains with headers, markers, footer.
#include <cstddef>
#include <cstdint>

#include "fuzz/image_files.h"
#include "fuzz/mutate_extent.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const test::PiecedFile file(data, size);
    const auto capacity = file.load(12, 8);
    test::check_extent_file("SPARSE", capacity, file, size);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_extent(vmdkdm::test::hosted_stream, data, size, max_size, seed);
}
