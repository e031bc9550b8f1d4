// Sizes for people.
#pragma once

#include <string>

#include "base/units.h"

namespace vmdkdm {

/// "1.5 GiB"
std::string human_size(Bytes size);

}  // namespace vmdkdm
