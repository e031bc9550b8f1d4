// Text from parts: concat("extent ", 3, ": ", path). Messages are built in many places; this keeps them
// readable.
#pragma once

#include <sstream>
#include <string>

namespace vmdkdm {

template <class... Parts>
std::string concat(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
}

}  // namespace vmdkdm
