#include "dm/snapshot_status.h"

#include <charconv>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

[[noreturn]] void fail(std::string_view text) {
    throw Error(ErrorKind::format, concat("not a snapshot status that is known here: '", text, "'"));
}

}  // namespace

SnapshotStatus parse_snapshot_status(std::string_view text) {
    if (text == "Overflow") return {SnapshotState::overflowed, {}, {}};
    if (text == "Invalid" || text == "Merge failed") return {SnapshotState::invalid, {}, {}};
    std::string_view rest = text;
    const auto number_before = [&](std::string_view separator) {
        std::uint64_t value = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
        if (error != std::errc()) fail(text);
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        if (!rest.starts_with(separator)) fail(text);
        rest.remove_prefix(separator.size());
        return Sectors(value);
    };
    const Sectors used = number_before("/");
    const Sectors total = number_before(" ");
    number_before("");  // metadata, which is part of `used`
    if (!rest.empty()) fail(text);
    return {SnapshotState::usable, used, total};
}

}  // namespace vmdkdm
