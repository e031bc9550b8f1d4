#include "plan/strategy.h"

namespace vmdkdm {
namespace {

// The kernel's part was measured on Linux 6.1 in the embedded kernel, ours natively: the text of a line and
// libdevmapper's copies of it, the writing of the store.
constexpr double seconds_per_line = 3e-6;
constexpr double seconds_per_exception = 0.1e-6;
constexpr double seconds_of_a_snapshot = 0.02;  // origin, COW device, the store's file and loop
constexpr std::uint64_t bytes_per_line = 130;
constexpr std::uint64_t bytes_per_exception = 32 + 16;  // in the kernel and in the store

// A snapshot cuts reads at chunk borders. On a disk of many short runs that is little, as lines cut them too,
// and so much loading time is what it is worth.
constexpr double seconds_that_whole_reads_are_worth = 0.1;
// A second for so much memory that is gone as long as the disk is attached.
constexpr double seconds_per_byte = 1.0 / (100 << 20);

double weight_of(const Cost& cost) {
    const double reads = cost.exceptions > 0 ? seconds_that_whole_reads_are_worth : 0;
    return cost.seconds + static_cast<double>(cost.kernel_memory.count()) * seconds_per_byte + reads;
}

}  // namespace

std::string_view to_string(Strategy strategy) {
    switch (strategy) {
        case Strategy::linear:
            return "linear";
        case Strategy::exceptions:
            return "exceptions";
        case Strategy::materialise:
            return "materialise";
    }
    return {};
}

Cost cost_of(Strategy strategy, std::size_t lines, std::size_t exceptions) {
    Cost cost{strategy, lines, exceptions, 0,
              Bytes(lines * bytes_per_line + exceptions * bytes_per_exception)};
    cost.seconds = static_cast<double>(lines) * seconds_per_line +
                   static_cast<double>(exceptions) * seconds_per_exception +
                   (exceptions > 0 ? seconds_of_a_snapshot : 0);
    return cost;
}

bool is_cheaper(const Cost& a, const Cost& b) { return weight_of(a) < weight_of(b); }

}  // namespace vmdkdm
