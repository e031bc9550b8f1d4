// A chain of snapshots: which files its links name, find and accept. An input is several files: a line "FILE
// NAME" begins each, and what stands before the first such line is the image. Beside them there is a small
// extent of each kind under a name that no input needs to hold.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/image_files.h"
#include "fuzz/mutate_text.h"
#include "support/blob.h"

namespace vmdkdm {
namespace {

constexpr std::string_view separator = "FILE ";
constexpr std::size_t max_files = 300;

// 64 sectors in grains of 8; the first is stored, the third is zeros.
std::string sparse_extent() {
    test::Blob file(16);
    file.put_text(0, "KDMV").put32(4, 2).put32(8, 5).put64(12, 64).put64(20, 8).put32(44, 16).put64(56, 1);
    file.put64(64, 8).put_text(73, "\n \r\n").put32(512, 2).put32(1024, 8).put32(1032, 1);
    return file.bytes();
}

std::string cowd_extent() {
    test::Blob file(64);
    file.put_text(0, "COWD").put32(4, 1).put32(8, 3).put32(12, 64).put32(16, 8).put32(20, 4).put32(24, 1);
    file.put32(4 * 512, 5).put32(5 * 512 + 4, 40);
    return file.bytes();
}

// As ConfinedOpener has it: what is not below the directory of the image is refused.
class ChainFiles : public FileOpener {
  public:
    FilePtr open_image(const std::string& path) override { return files_.open_image(path); }
    FilePtr open_beside(const File& from, const std::string& name) override {
        if (name.starts_with('/') && !name.starts_with("/vm/"))
            throw Error(ErrorKind::refused,
                        concat("'", name, "' is outside the directory (see --allow-path)"));
        return files_.open_beside(from, name);
    }
    test::MemoryFiles& files() { return files_; }

  private:
    test::MemoryFiles files_;
};

void take_files(std::string_view input, test::MemoryFiles& files) {
    files.add("/vm/s", sparse_extent());
    files.add("/vm/c", cowd_extent());
    files.add_hole("/vm/f", Bytes(64 * 512));
    std::string name = "disk.vmdk";
    for (std::size_t count = 0; count < max_files; ++count) {
        std::size_t end = input.find("\nFILE ");
        end = end == std::string_view::npos ? input.size() : end + 1;
        files.add("/vm/" + name, std::string(input.substr(0, end)));
        input.remove_prefix(end);
        if (!input.starts_with(separator)) break;
        input.remove_prefix(separator.size());
        const std::size_t line_end = std::min(input.find('\n'), input.size());
        name = std::string(input.substr(0, line_end));
        input.remove_prefix(std::min(line_end + 1, input.size()));
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    ChainFiles files;
    take_files({reinterpret_cast<const char*>(data), size}, files.files());
    const std::size_t input_bytes = size + 64 * 64;  // those of the small extents too
    test::check_files(files, input_bytes);
    ChainRules rules;
    rules.search_dirs = {"/vm/elsewhere", "/vm"};
    rules.layer = 1;
    rules.ignore_cid = true;  // check has nothing to say about what lies above the layer, the readers have
    test::check_files(files, input_bytes, rules);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_text(data, size, max_size, seed);
}
