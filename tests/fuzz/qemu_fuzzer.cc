// Random valid images, read by us and by qemu-img: both must show the disk that was written, and `check` must
// find no fault.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "compact/grain.h"
#include "fuzz/check.h"
#include "fuzz/valid_image.h"
#include "support/memory_files.h"
#include "vmdk/check.h"
#include "vmdk/image_chain.h"

extern char** environ;

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using test::require;
using test::ValidImage;

// Gone when the program ends; where it crashes the image stays, to be looked at.
class WorkDirectory {
  public:
    WorkDirectory() {
        std::string name = (fs::temp_directory_path() / "vmdkdm-test-XXXXXX").string();
        require(::mkdtemp(name.data()) != nullptr, "a temporary directory can be made");
        path_ = name;
    }
    ~WorkDirectory() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    WorkDirectory(const WorkDirectory&) = delete;
    WorkDirectory& operator=(const WorkDirectory&) = delete;
    const fs::path& path() const { return path_; }

  private:
    fs::path path_;
};

const fs::path& work_path() {
    static const WorkDirectory directory;
    return directory.path();
}

int run(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    if (::posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return 127;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {  // libFuzzer's clock
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

void write_files(const ValidImage& image) {
    for (const test::NamedFile& file : image.files)
        std::ofstream(work_path() / file.name, std::ios::binary) << file.content;
}

std::string read_by_qemu() {
    const std::string raw = work_path() / "raw";
    const std::string image = work_path() / test::valid_image_name;
    require(run({"qemu-img", "convert", "-q", "-f", "vmdk", "-O", "raw", image, raw}) == 0,
            "qemu-img reads the image");
    std::ifstream in(raw, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string read_by_map(const BlockMap& map) {
    std::string disk(to_bytes(map.capacity()).count(), '\0');
    std::vector<std::byte> place(128 * sector_size);  // of the largest grain that is made
    GrainInflater inflater;
    for (const Run& run : map) {
        const auto out = std::as_writable_bytes(std::span(disk))
                             .subspan(to_bytes(run.start).count(), to_bytes(run.length).count());
        if (const auto* stored = std::get_if<Stored>(&run.content)) {
            map.files()[stored->file].file->read_at(to_bytes(stored->sector), out);
        } else if (const auto* compressed = std::get_if<Compressed>(&run.content)) {
            const auto result = inflater.inflate(map.files()[compressed->file], compressed->sector,
                                                 run.start - Sectors(compressed->skip), place);
            require(result.problem.empty(), "a sound grain inflates");
            const auto grain = result.bytes.subspan(to_bytes(Sectors(compressed->skip)).count());
            require(grain.size() >= out.size(), "a grain has all that the disk shows of it");
            std::copy_n(grain.begin(), out.size(), out.begin());
        } else {
            require(std::holds_alternative<Zero>(run.content), "all of a valid image is readable");
        }
    }
    return disk;
}

std::string read_by_us(const ValidImage& image) {
    test::MemoryFiles files;
    for (const test::NamedFile& file : image.files) files.add("/vm/" + file.name, file.content);
    const std::string path = concat("/vm/", test::valid_image_name);
    try {
        std::vector<std::string> notes;
        const ImageChain chain = read_chain(path, files, {}, notes);
        const BlockMap map = map_chain(chain, files, {}, notes);
        const Findings findings = check_image(path, files, {}).findings;
        for (const Finding& fault : findings.faults.kept())
            std::fprintf(stderr, "%s: byte %llu: %s\n", fault.file.c_str(),
                         static_cast<unsigned long long>(fault.offset.count()), fault.text.c_str());
        require(findings.sound(), "a valid image is sound");
        return read_by_map(map);
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        require(false, "a valid image can be read");
        throw;
    }
}

void compare(const ValidImage& image, const std::string& read, const char* what) {
    const auto [a, b] = std::mismatch(image.disk.begin(), image.disk.end(), read.begin(), read.end());
    if (a == image.disk.end() && b == read.end()) return;
    std::fprintf(stderr, "differs from byte %td on, of %zu (read: %zu); the image is in %s\n",
                 a - image.disk.begin(), image.disk.size(), read.size(), work_path().c_str());
    require(false, what);
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    if (vmdkdm::run({"qemu-img", "--version"}) == 0) return 0;
    std::fprintf(stderr, "qemu-img is missing (scripts/install-dependencies fuzz)\n");
    std::exit(1);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    FuzzedDataProvider bytes(data, size);
    const ValidImage image = test::make_valid_image(bytes);
    write_files(image);
    compare(image, read_by_us(image), "we show the disk that was written");
    compare(image, read_by_qemu(), "qemu-img shows the disk that was written");
    return 0;
}
