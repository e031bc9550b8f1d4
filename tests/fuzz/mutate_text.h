// Mutations that know lines and words, for inputs that are text: random bytes break a word far more often
// than they make another one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vmdkdm::test {

/// For LLVMFuzzerCustomMutator: changes the input in place, and returns its new size.
std::size_t mutate_text(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed);

}  // namespace vmdkdm::test
