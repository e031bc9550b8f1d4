// The text descriptor of a VMDK: what a disk consists of, as its writer put it. Pure: text in, values out.
//
// Grammar (format reference, sections 2 and 3): `#` comments and blank lines anywhere; `key = value` lines,
// the value quoted or not; extent lines `ACCESS SIZE TYPE ["FILE" [OFFSET [PARTITION-UUID [DEVICE-ID]]]]`. LF
// or CRLF; a NUL ends the text, and so does a ^Z behind its last line. Keys and words in any case. What is
// not understood is refused: a line that is skipped shifts every later sector.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text_cursor.h"
#include "base/units.h"

namespace vmdkdm {

/// Limits on what a stranger's descriptor may ask of us. A 2 TB disk in 2 GB pieces needs 40 KiB and 1000
/// lines.
inline constexpr std::size_t max_descriptor_bytes = 4 << 20;
inline constexpr std::size_t max_extents = 32768;
/// Of header and `ddb.` lines together.
inline constexpr std::size_t max_key_lines = 65536;

/// The 32-bit number that changes whenever the content of a link does.
struct ContentId {
    std::uint32_t value = 0;
    friend bool operator==(const ContentId&, const ContentId&) = default;
};
inline constexpr ContentId no_parent{0xffffffff};

/// Eight hexadecimal digits, as VMware writes it.
std::string to_string(ContentId cid);

enum class Access { read_write, read_only, no_access };
enum class ExtentType { flat, vmfs, vmfs_raw, zero, sparse, vmfs_sparse, se_sparse, vmfs_rdm, vsan_sparse };

/// The word of the descriptor: RW, RDONLY, NOACCESS.
std::string_view to_string(Access access);
/// The word of the descriptor: FLAT, VMFS, ...
std::string_view to_string(ExtentType type);

struct ExtentDescriptor {
    Access access = Access::read_write;
    Sectors size;
    ExtentType type = ExtentType::flat;
    std::string file_name;  ///< in the descriptor's own encoding; empty when the line names none
    Sectors offset;         ///< first sector within the file; 0 when the line has none
    TextPosition position;  ///< of the line's first word
};

/// Key and value as written (without quotes), in order.
using KeyValue = std::pair<std::string, std::string>;

/// The `ddb.` lines: about the virtual hardware, not needed to read the data.
class DiskDatabase {
  public:
    explicit DiskDatabase(std::vector<KeyValue> entries) : entries_(std::move(entries)) {}
    DiskDatabase() = default;

    /// Value of `key` (without "ddb."), any case; of several the first.
    std::optional<std::string> get(std::string_view key) const;
    const std::vector<KeyValue>& entries() const { return entries_; }

  private:
    std::vector<KeyValue> entries_;
};

struct Descriptor {
    std::uint32_t version = 0;  ///< 1, 2 or 3
    std::string encoding;       ///< name of the character set; empty when not declared
    ContentId cid;
    ContentId parent_cid = no_parent;
    std::string create_type;  ///< a label only; the extents say how to read
    std::string parent_file_name_hint;
    std::vector<KeyValue> header;  ///< every header line, also keys that we do not know
    std::vector<ExtentDescriptor> extents;
    DiskDatabase ddb;

    Sectors capacity() const;
    bool has_parent() const { return parent_cid != no_parent; }
};

enum class Place { own_file, embedded };

/// Parses a whole descriptor. `file_name` is used in messages only. An embedded one may leave the name of its
/// first extent empty, when that is SPARSE: it is the file that the descriptor is in. Throws TextError, which
/// says file:line:column, what was found and what was expected; Error (format) for the text as a whole.
Descriptor parse_descriptor(std::string_view text, const std::string& file_name,
                            Place place = Place::own_file);

/// Whether `text` (the start of a file is enough) looks like a descriptor: a `version` key is the first thing
/// in it that is neither comment nor blank, or another header key is, with a `version` later on.
bool looks_like_descriptor(std::string_view text);

}  // namespace vmdkdm
