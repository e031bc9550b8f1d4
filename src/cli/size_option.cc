#include "cli/size_option.h"

#include <charconv>
#include <string_view>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

Bytes parse_size(const std::string& text, const std::string& option) {
    const auto fail = [&]() -> Bytes {
        throw Error(ErrorKind::usage,
                    concat(option, " '", text, "' is not a size, such as 512M, 10G or a number of bytes"));
    };
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return fail();
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (unit.empty()) return Bytes(value);
    constexpr std::string_view units = "KMGTP";
    const std::size_t power = units.find(unit.front());
    unit.remove_prefix(1);
    if (power == std::string_view::npos || (!unit.empty() && unit != "iB")) return fail();
    try {
        return Bytes(checked_multiply(value, std::uint64_t{1024} << (10 * power)));
    } catch (const UnitOverflow&) {
        return fail();
    }
}

}  // namespace vmdkdm
