// A time as systemd.time(7) writes it: "90", "1min 30s", "infinity".
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace vmdkdm {

inline constexpr std::uint64_t infinite_time = std::numeric_limits<std::uint64_t>::max();

/// In microseconds; a number without a unit is seconds. None when it is no time.
std::optional<std::uint64_t> parse_time_span(std::string_view text);

}  // namespace vmdkdm
