// A tree of files as a stream of records, as it comes out of the embedded kernel. Not tar's, for two reasons:
// whoever reads it must hear of a file that could not be read to its end (tar fills it with zeros), and a
// name is never more than one component, so that there is no path that could lead elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace vmdkdm {

struct Times {
    std::int64_t seconds = 0;
    std::uint32_t nanoseconds = 0;
    friend bool operator==(const Times&, const Times&) = default;
};

/// What follows, up to its LeaveDirectory, is in it.
struct EnterDirectory {
    std::string name;
    std::uint32_t mode = 0;
    Times modified;
};
struct LeaveDirectory {};
/// What follows, up to FileEnd or FileFailed, is its content.
struct FileBegin {
    std::string name;
    std::uint32_t mode = 0;
    Times modified;
};
/// Bytes at an offset; where there are none, the file has zeros.
struct FileBytes {
    std::uint64_t offset = 0;
    std::string bytes;
};
struct FileEnd {
    std::uint64_t size = 0;
};
struct FileFailed {
    std::uint32_t error = 0;  ///< errno
};
struct SymbolicLink {
    std::string name;
    std::string target;
    Times modified;
};
/// Neither file, directory nor link: 'b', 'c', 'p' or 's', as find -type has them.
struct Special {
    std::string name;
    char type = 0;
};
/// It is there, and that is all that could be found out.
struct UnreadableEntry {
    std::string name;
    std::uint32_t error = 0;  ///< errno
};
/// The last record.
struct TreeEnd {};

using TreeRecord = std::variant<EnterDirectory, LeaveDirectory, FileBegin, FileBytes, FileEnd, FileFailed,
                                SymbolicLink, Special, UnreadableEntry, TreeEnd>;

inline constexpr std::size_t largest_block = 1 << 18;
inline constexpr std::size_t deepest_tree =
    900;  ///< a damaged file system may have a directory inside itself

std::string to_bytes(const TreeRecord& record);

/// The beginning of a FileBytes record, which `size` bytes must follow. For a sender that copies nothing: in
/// the embedded kernel fresh memory costs more than what is done with it.
std::string block_header(std::uint64_t offset, std::size_t size);

/// Fills a buffer; gives back less than was asked for only at the end of the stream.
using FillFrom = std::function<std::size_t(char* buffer, std::size_t size)>;

/// The next record. Throws Error (system) where the stream ends, (format) for what is no record: a name that
/// is no single component, a block that is too large.
TreeRecord read_record(const FillFrom& stream);

}  // namespace vmdkdm
