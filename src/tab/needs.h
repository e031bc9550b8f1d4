// Which entry of a table needs which other one first: an image may lie in the disk of another image. Pure;
// what is mounted from where is for the caller to find out.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tab/tab.h"

namespace vmdkdm {

/// Entries are numbered from 0, in the order of the table.
struct TabNeed {
    std::size_t entry = 0;
    std::size_t needed = 0;
    std::string why;  ///< "its image lies on '/data', which is mounted from /dev/mapper/web1"
};

/// Cycles: each a list of needs of which the last leads to the entry of the first. An entry is in one at
/// most.
std::vector<std::vector<TabNeed>> find_cycles(std::size_t entries, const std::vector<TabNeed>& needs);

/// Whether a device is, by its name, the entry's disk or a partition of it: "/dev/mapper/web",
/// "/dev/mapper/web1".
bool is_device_of(std::string_view device, const TabEntry& entry);

/// The entry's name in "vmdk-dm@NAME.service", as systemd escapes it; none for any other unit.
std::optional<std::string> entry_of_unit(std::string_view unit);

}  // namespace vmdkdm
