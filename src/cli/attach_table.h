// vmdk-dm attach --table: what vmdktab says, entry by entry.
#pragma once

#include <string>
#include <vector>

namespace vmdkdm {

struct AttachTableOptions {
    std::string file;
    std::vector<std::string> names;  ///< empty: all entries that are not noauto
    std::string progress;
    bool json = false;
};

/// Goes on after an entry that fails. Throws ExitStatus of the first failure, whose message has been printed;
/// without names those of nofail entries are notes. Throws Error when the table cannot be read.
void attach_table(const AttachTableOptions& options);

}  // namespace vmdkdm
