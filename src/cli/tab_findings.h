// What is wrong with a vmdktab, beyond what its lines say: tab check, and tab add before it writes.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tab/tab.h"

namespace vmdkdm {

struct TabFinding {
    std::size_t line = 0;
    std::string text;  ///< "file:line:column: ...", the line and a caret
};

struct TabFindings {
    std::vector<TabFinding> faults;  ///< what attach would refuse, or the boot could not do
    std::vector<TabFinding> notes;   ///< what could not be looked at now, or may be meant
    /// In the order of the lines.
    void sort();
};

/// All lines and entries. Looks at images, fstab and what is mounted now; changes nothing, needs no root.
TabFindings check_tab(const Tab& tab);

/// What concerns one entry of the table.
TabFindings check_tab_entry(const Tab& tab, const TabEntry& entry);

}  // namespace vmdkdm
