// A size on the command line.
#pragma once

#include <string>

#include "base/units.h"

namespace vmdkdm {

/// "4096", "512K", "10G", "1T", also with "iB" behind: powers of 1024. Throws Error (usage) that names
/// `option`.
Bytes parse_size(const std::string& text, const std::string& option);

}  // namespace vmdkdm
