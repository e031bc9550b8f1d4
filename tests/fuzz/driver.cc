// Runs a fuzz target without libFuzzer: every seed as it is, then mutations of the seeds for some seconds.
// The mutations follow from a fixed seed, so that what one run found the next one finds too, given the time.
//
//     NAME SECONDS SEED-DIRECTORY      (the whole smoke test)
//     NAME FILE                        (one input, to look at a finding)
//
// An input that makes the target abort or a sanitizer speak is written to NAME.finding in the working
// directory.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_input_bytes = 64 << 10;
constexpr unsigned hang_s = 60;

std::string current_input;
std::string finding_path;

void save_finding() {
    std::ofstream(finding_path, std::ios::binary) << current_input;
    std::fprintf(stderr, "the input is in %s (%zu bytes)\n", finding_path.c_str(), current_input.size());
}

void on_signal(int signal) {
    save_finding();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}

void run(std::string input) {
    current_input = std::move(input);
    // A copy of the exact size, so that a sanitizer sees a read past its end.
    const std::vector<std::uint8_t> exact(current_input.begin(), current_input.end());
    ::alarm(hang_s);
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
    ::alarm(0);
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// Words that a random walk over bytes would not find.
constexpr std::string_view words[] = {"RW ",
                                      "RDONLY ",
                                      "NOACCESS ",
                                      " FLAT ",
                                      " VMFS ",
                                      " ZERO",
                                      " SPARSE ",
                                      " VMFSRAW ",
                                      "\"a.vmdk\"",
                                      "\"../a\"",
                                      "\"disk.vmdk\"",
                                      "\"\\\\.\\PhysicalDrive0\"",
                                      "version=",
                                      "version=1\n",
                                      "CID=",
                                      "parentCID=",
                                      "createType=\"",
                                      "encoding=\"",
                                      "windows-1252\"\n",
                                      "GBK\"\n",
                                      "Shift_JIS\"\n",
                                      "UTF-16\"\n",
                                      "IBM037\"\n",
                                      "ddb.",
                                      "ddb.iofilters=",
                                      "keyID=",
                                      "\n",
                                      "\r\n",
                                      "\t",
                                      "\"",
                                      "=",
                                      "#",
                                      "\xef\xbb\xbf",
                                      "\x95\x5c",
                                      "0",
                                      "1",
                                      "18014398509481983",
                                      "18014398509481984",
                                      "18446744073709551615",
                                      "9223372036854775808",
                                      "4294967295",
                                      "-1",
                                      "linear ",
                                      "zero",
                                      "error",
                                      "snapshot ",
                                      "snapshot-origin ",
                                      "7:0",
                                      " P ",
                                      " N ",
                                      "254:1"};

constexpr std::uint64_t numbers[] = {0,
                                     8,
                                     128,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     std::uint64_t{1} << 32,
                                     std::uint64_t{1} << 54,
                                     std::uint64_t{1} << 55,
                                     std::uint64_t{1} << 63};

class Mutator {
  public:
    explicit Mutator(std::vector<std::string> seeds) : seeds_(std::move(seeds)) {}

    std::string next() {
        std::string input = any(seeds_);
        for (std::size_t rounds = 1 + below(6); rounds > 0; --rounds) mutate(input);
        if (input.size() > max_input_bytes) input.resize(max_input_bytes);
        return input;
    }

  private:
    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }
    std::size_t position(const std::string& input) { return below(input.size() + 1); }
    template <class List>
    auto any(const List& list) -> decltype(list[0]) {
        return list[below(std::size(list))];
    }

    // Start and length of a line of the input, its line end included.
    std::pair<std::size_t, std::size_t> any_line(const std::string& input) {
        const std::size_t inside = position(input);
        const std::size_t before = inside == 0 ? std::string::npos : input.rfind('\n', inside - 1);
        const std::size_t start = before == std::string::npos ? 0 : before + 1;
        const std::size_t end = input.find('\n', start);
        return {start, (end == std::string::npos ? input.size() : end + 1) - start};
    }

    void mutate(std::string& input) {
        switch (below(10)) {
            case 0:
                if (!input.empty()) input[below(input.size())] = static_cast<char>(random_());
                break;
            case 1:
                if (!input.empty()) input[below(input.size())] ^= static_cast<char>(1 << below(8));
                break;
            case 2:
                input.erase(position(input), 1 + below(16));
                break;
            case 3:
                input.insert(position(input), any(words));
                break;
            case 4: {  // a word in place of another
                const std::size_t start = position(input);
                const std::size_t end = std::min(input.find_first_of(" \t\n=", start), input.size());
                input.replace(start, end - start, any(words));
                break;
            }
            case 5: {  // a line once more, elsewhere
                const auto [start, length] = any_line(input);
                const std::string line = input.substr(start, length);
                for (std::size_t times = 1 + below(8); times > 0; --times)
                    input.insert(any_line(input).first, line);
                break;
            }
            case 6: {
                const auto [start, length] = any_line(input);
                input.erase(start, length);
                break;
            }
            case 7: {  // a number that is hard on arithmetic, in a field
                const std::size_t size = below(2) == 0 ? 4 : 8;
                if (input.size() < size) break;
                const std::uint64_t number = any(numbers) + below(3) - 1;
                const std::size_t start = below(input.size() - size + 1) / 2 * 2;
                for (std::size_t i = 0; i < size; ++i)
                    input[start + i] = static_cast<char>(number >> (8 * i));
                break;
            }
            case 8: {  // the rest of another seed
                const std::string& other = any(seeds_);
                input = input.substr(0, position(input)) + other.substr(position(other));
                break;
            }
            default:
                input.insert(position(input), 1 + below(300), static_cast<char>(random_()));
        }
    }

    std::vector<std::string> seeds_;
    std::mt19937_64 random_{20240229};
};

std::vector<std::string> read_seeds(const fs::path& directory) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(directory)) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<std::string> seeds;
    for (const fs::path& path : paths) seeds.push_back(read_file(path));
    return seeds;
}

}  // namespace

int main(int argc, char** argv) {
    finding_path = fs::path(argv[0]).filename().string() + ".finding";
    for (const int signal : {SIGABRT, SIGSEGV, SIGALRM}) std::signal(signal, on_signal);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_set_death_callback(save_finding);
#endif
    if (argc == 2) {
        run(read_file(argv[1]));
        return 0;
    }
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s SECONDS SEED-DIRECTORY | %s FILE\n", argv[0], argv[0]);
        return 2;
    }
    std::vector<std::string> seeds = read_seeds(argv[2]);
    if (seeds.empty()) {
        std::fprintf(stderr, "no seeds in %s\n", argv[2]);
        return 1;
    }
    for (const std::string& seed : seeds) run(seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
    Mutator mutator(seeds);
    unsigned long inputs = 0;
    for (; std::chrono::steady_clock::now() < end; ++inputs) run(mutator.next());
    std::printf("%zu seeds and %lu mutations, nothing found\n", seeds.size(), inputs);
    return 0;
}
