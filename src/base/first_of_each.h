// Of entries with keys, those whose key was not there before. In proportion to their number, nearly: keys of
// a stranger may be many, and may be made to fall into one place of a hash table.
#pragma once

#include <functional>
#include <set>
#include <string_view>
#include <vector>

namespace vmdkdm {

/// Pointers to `entries` (pairs of a text and something), in their order.
template <class Entry, class Less = std::less<>>
std::vector<const Entry*> first_of_each_key(const std::vector<Entry>& entries, Less less = {}) {
    std::vector<const Entry*> first;
    std::set<std::string_view, Less> keys(less);
    for (const Entry& entry : entries)
        if (keys.insert(entry.first).second) first.push_back(&entry);
    return first;
}

}  // namespace vmdkdm
