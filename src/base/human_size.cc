#include "base/human_size.h"

#include <array>
#include <iomanip>
#include <sstream>

namespace vmdkdm {

std::string human_size(Bytes size) {
    static constexpr std::array units = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = static_cast<double>(size.count());
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    std::ostringstream text;
    text << std::fixed << std::setprecision(unit == 0 ? 0 : 1) << value << " " << units[unit];
    return text.str();
}

}  // namespace vmdkdm
