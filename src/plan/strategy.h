// What each way of showing a disk costs, from measured figures (ARCHITECTURE.md, "Strategies").
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/units.h"

namespace vmdkdm {

enum class Strategy {
    linear,       ///< a line of a table for each run
    exceptions,   ///< long runs as lines, single grains as exceptions of a snapshot
    materialise,  ///< a copy, one line
};
std::string_view to_string(Strategy strategy);

/// What a plan costs the kernel, and us when we carry it out.
struct Cost {
    Strategy strategy = Strategy::linear;
    std::size_t lines = 0;       ///< of all tables
    std::size_t exceptions = 0;  ///< of all stores
    double seconds = 0;          ///< to load, as on the machine that was measured
    Bytes kernel_memory;         ///< stores in /run included
    friend bool operator==(const Cost&, const Cost&) = default;
};

Cost cost_of(Strategy strategy, std::size_t lines, std::size_t exceptions);

/// Whether `a` is to be preferred.
bool is_cheaper(const Cost& a, const Cost& b);

}  // namespace vmdkdm
