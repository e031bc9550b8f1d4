// A hosted sparse file (KDMV) with its embedded descriptor.
#include <cstddef>
#include <cstdint>

#include "fuzz/image_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    test::PiecedFile file(data, size);
    test::MemoryFiles files;
    files.add_with_tail(test::fuzzed_image, std::move(file.content), file.size);
    test::check_files(files, size);
    return 0;
}
