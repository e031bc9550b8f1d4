// Notes that say the same of one file after the other, which a disk in many pieces can have by the hundred.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace vmdkdm {

/// How many notes of a kind are told.
inline constexpr std::size_t notes_of_a_kind = 3;

/// In their order, of each kind the first few; after them, how many more there are. Those are of a kind that
/// differ only in numbers and in what stands in quotes.
std::vector<std::string> few_of_each_kind(const std::vector<std::string>& notes);

}  // namespace vmdkdm
