// What a fuzz target says when an invariant does not hold: abort, which every driver reports with the input.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace vmdkdm::test {

inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "INVARIANT BROKEN: %s\n", what);
    std::abort();
}

}  // namespace vmdkdm::test
