// An ESX sparse extent (COWD) below its descriptor.
#include <cstddef>
#include <cstdint>

#include "fuzz/image_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    test::PiecedFile file(data, size);
    const auto capacity = file.number_at<std::uint32_t>(12);
    test::check_extent_file("VMFSSPARSE", capacity, std::move(file), size);
    return 0;
}
