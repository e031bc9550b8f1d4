// A streamOptimized file below a text descriptor: grains with headers, markers, footer. What it refers to is
// inflated too.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compact/grain.h"
#include "fuzz/image_files.h"
#include "fuzz/mutate_extent.h"

namespace vmdkdm {
namespace {

using test::require;

// Each grain gives no more than a grain, or a problem that can be told.
void inflate_grains(FileOpener& files) {
    constexpr int most = 64;
    std::vector<std::string> notes;
    const ImageChain chain = read_chain(test::fuzzed_image, files, {}, notes);
    const BlockMap map = map_chain(chain, files, {}, notes);
    GrainInflater inflater;
    int inflated = 0;
    for (const Run& run : map) {
        const auto* compressed = std::get_if<Compressed>(&run.content);
        if (compressed == nullptr) continue;
        if (++inflated > most) return;
        const MappedFile& file = map.files().at(compressed->file);
        const Sectors origin = run.start - Sectors(compressed->skip);
        const GrainInflater::Result result = inflater.inflate(file, compressed->sector, origin, {});
        require(result.problem.find_first_of("\n\r\x1b") == std::string::npos,
                "a problem is one line of text");
        require(
            !result.problem.empty() || Bytes(result.bytes.size()) <= to_bytes(file.grains.value().grain_size),
            "a grain is no larger than a grain");
        require(!result.problem.empty() || Bytes(result.bytes.size()) >= to_bytes(run.length),
                "a grain has all that the disk shows of it");
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    const test::PiecedFile file(data, size);
    test::MemoryFiles files = test::files_of_extent("SPARSE", file.load(12, 8), file);
    test::check_files(files, size);
    try {
        inflate_grains(files);
    } catch (const Error&) {
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_extent(vmdkdm::test::hosted_stream, data, size, max_size, seed);
}
