#include "fuzz/mutate_text.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace vmdkdm::test {
namespace {

constexpr std::string_view separators = " \t\n=\",:";

// Numbers that are hard on arithmetic in sectors, and on 32 and 64 bits.
constexpr std::string_view numbers[] = {"0",
                                        "1",
                                        "8",
                                        "64",
                                        "128",
                                        "4294967295",
                                        "4294967296",
                                        "18014398509481983",
                                        "18014398509481984",
                                        "9223372036854775808",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "-1",
                                        "ffffffff"};

class TextMutator {
  public:
    TextMutator(std::string& text, unsigned seed) : text_(text), random_(seed) {}

    void mutate() {
        for (std::size_t rounds = 1 + below(3); rounds > 0; --rounds) mutate_once();
    }

  private:
    struct Stretch {
        std::size_t start;
        std::size_t length;
    };

    std::size_t below(std::size_t limit) { return random_() % limit; }
    std::size_t position() { return below(text_.size() + 1); }

    void mutate_once() {
        switch (below(6)) {
            case 0: {  // a line once more, elsewhere, up to some dozen times
                const std::string line = copy(any_line());
                for (std::size_t times = below(8) == 0 ? below(40) : 1; times > 0; --times)
                    text_.insert(any_line().start, line);
                return;
            }
            case 1: {
                const Stretch line = any_line();
                text_.erase(line.start, line.length);
                return;
            }
            case 2: {  // a word of the text in place of another
                const std::string word = copy(any_word());
                return replace(any_word(), word);
            }
            case 3:
                return replace(any_word(), numbers[below(std::size(numbers))]);
            case 4: {  // lines that trade places
                const std::string line = copy(any_line());
                const Stretch from = any_line();
                const std::string other = copy(from);
                replace(from, line);
                return replace(any_line(), other);
            }
            default:
                text_.insert(position(), 1, separators[below(separators.size())]);
        }
    }

    Stretch any_line() {
        const std::size_t inside = position();
        const std::size_t before = inside == 0 ? std::string::npos : text_.rfind('\n', inside - 1);
        const std::size_t start = before == std::string::npos ? 0 : before + 1;
        const std::size_t end = text_.find('\n', start);
        return {start, (end == std::string::npos ? text_.size() : end + 1) - start};
    }

    Stretch any_word() {
        const std::size_t start = std::min(text_.find_first_not_of(separators, position()), text_.size());
        return {start, std::min(text_.find_first_of(separators, start), text_.size()) - start};
    }

    std::string copy(Stretch stretch) const { return text_.substr(stretch.start, stretch.length); }
    void replace(Stretch stretch, std::string_view by) { text_.replace(stretch.start, stretch.length, by); }

    std::string& text_;
    std::mt19937 random_;
};

}  // namespace

std::size_t mutate_text(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
    if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
    std::string text(reinterpret_cast<const char*>(data), size);
    TextMutator(text, seed).mutate();
    if (text.size() > max_size) text.resize(max_size);
    std::memcpy(data, text.data(), text.size());
    return text.size();
}

}  // namespace vmdkdm::test
