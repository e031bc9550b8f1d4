// A hosted sparse file (KDMV) with its embedded descriptor.
#include <cstddef>
#include <cstdint>

#include "fuzz/image_files.h"
#include "fuzz/mutate_extent.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const test::PiecedFile file(data, size);
    test::MemoryFiles files;
    files.add_with_tail(test::fuzzed_image, file.content(), file.size);
    test::check_files(files, size);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_extent(vmdkdm::test::hosted_sparse, data, size, max_size, seed);
}
