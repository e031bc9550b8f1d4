#include "tab/time_span.h"

#include <array>
#include <charconv>
#include <cmath>

namespace vmdkdm {
namespace {

struct Unit {
    std::string_view name;
    double microseconds;
};

constexpr double second = 1e6;
constexpr std::array units = {
    Unit{"", second},
    Unit{"s", second},
    Unit{"sec", second},
    Unit{"second", second},
    Unit{"seconds", second},
    Unit{"m", 60 * second},
    Unit{"min", 60 * second},
    Unit{"minute", 60 * second},
    Unit{"minutes", 60 * second},
    Unit{"h", 3600 * second},
    Unit{"hr", 3600 * second},
    Unit{"hour", 3600 * second},
    Unit{"hours", 3600 * second},
    Unit{"d", 86400 * second},
    Unit{"day", 86400 * second},
    Unit{"days", 86400 * second},
    Unit{"w", 604800 * second},
    Unit{"week", 604800 * second},
    Unit{"weeks", 604800 * second},
    Unit{"ms", 1000},
    Unit{"msec", 1000},
    Unit{"us", 1},
    Unit{"usec", 1},
};

std::string_view without_blanks(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

}  // namespace

std::optional<std::uint64_t> parse_time_span(std::string_view text) {
    if (text == "infinity") return infinite_time;
    double total = 0;
    bool is_something = false;
    for (text = without_blanks(text); !text.empty(); text = without_blanks(text)) {
        double count = 0;
        const auto [end, error] =
            std::from_chars(text.data(), text.data() + text.size(), count, std::chars_format::fixed);
        if (error != std::errc() || !std::isfinite(count) || text.front() == '-') return std::nullopt;
        text = without_blanks(text.substr(static_cast<std::size_t>(end - text.data())));
        const std::size_t letters =
            std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), text.size());
        double of_unit = 0;
        for (const Unit& unit : units)
            if (unit.name == text.substr(0, letters)) of_unit = unit.microseconds;
        if (of_unit == 0) return std::nullopt;
        text.remove_prefix(letters);
        total += count * of_unit;
        is_something = true;
    }
    constexpr double longest = 9e18;
    if (!is_something || total > longest) return std::nullopt;
    return static_cast<std::uint64_t>(std::llround(total));
}

}  // namespace vmdkdm
