// vmdktab(5): which images are attached at boot, under which names and with which options. Pure: text in,
// values out. The command line of the kernel says the same as rd.vmdk=, its fields in another order.
//
// Grammar: a line is `NAME IMAGE [OPTIONS]`, separated by blanks; `#` where a field would begin starts a
// comment;
// `-` or `none` are no options. `\NNN` (octal) stands for a byte, in every field, as in fstab(5). OPTIONS is
// split at commas before that. A line that is not understood is an error, and the others can be used all the
// same: a typing error must not keep a machine from booting.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace vmdkdm {

inline constexpr const char* default_tab_file = "/etc/vmdktab";
/// A table of thousands of images is far smaller.
inline constexpr std::size_t max_tab_bytes = 4 << 20;

/// Where a path is to be looked for: in this machine's tree, or in the file system of a device.
struct TabImage {
    /// As written: "UUID=...", "LABEL=...", "PARTUUID=...", "PARTLABEL=..." or "/dev/..."; empty for a path
    /// of this machine.
    std::string device;
    std::string
        path;  ///< absolute, in the device's file system where there is a device; without "." and ".."
    friend bool operator==(const TabImage&, const TabImage&) = default;
};

struct TabOption {
    std::string name;  ///< without "--"
    std::optional<std::string> value;
    std::size_t offset = 0;  ///< of the name in the entry's text, in bytes; for messages
    /// The offset is no part of what is said.
    friend bool operator==(const TabOption& a, const TabOption& b) {
        return a.name == b.name && a.value == b.value;
    }
};

struct TabEntry {
    std::string file_name;  ///< of the table; for messages
    std::size_t line = 0;   ///< from 1
    std::string text;       ///< the line, or the value of rd.vmdk=; for messages
    std::size_t name_offset = 0;
    std::size_t image_offset = 0;

    std::string name;  ///< fit for a device (check_name)
    TabImage image;
    std::vector<TabOption> options;  ///< in the order of the line

    bool has(std::string_view option) const { return find(option) != nullptr; }
    /// The last one of that name; null where there is none.
    const TabOption* find(std::string_view option) const;
    /// The values of all options of that name.
    std::vector<std::string> values(std::string_view option) const;

    /// Not attached at boot, only when it is asked for by name. Of `auto` and `noauto` the last one counts.
    bool noauto() const;
    bool nofail() const { return has("nofail"); }
    /// Whether attach writes to the file system that the image, or a path of its options, is on.
    bool writes() const { return has("in-place") || has("overlay") || has("seal") || has("cache-dir"); }
    /// The paths that options name, as written: in the device's file system where there is a device.
    std::vector<std::string> option_paths() const;

    /// "/etc/vmdktab:3", for messages about the entry as a whole.
    std::string place() const;
    /// Throws TextError: "file:line:column: message", the line, and a caret at `offset` bytes of the text.
    [[noreturn]] void fail(std::size_t offset, const std::string& message) const;
};

/// A line that is not understood, or an entry that is refused.
struct TabFault {
    std::size_t line = 0;
    TextError error;
};

struct Tab {
    std::vector<TabEntry>
        entries;                   ///< of the lines that are right, in their order; no two have the same name
    std::vector<TabFault> faults;  ///< of the others, in their order
    /// Null where there is none.
    const TabEntry* find(std::string_view name) const&;
    const TabEntry* find(std::string_view name) const&& = delete;
};

/// Never throws for what is in the text. `file_name` is used in messages only.
Tab parse_tab(std::string_view text, const std::string& file_name);

/// Reads and parses a file. Throws Error (not_found, system, format when it is too large).
Tab read_tab(const std::string& path);

/// The value of an rd.vmdk=: DEV:PATH:NAME[:OPTIONS], where a `:` within PATH, NAME and OPTIONS is written
/// `\072`. Throws TextError. "0", which switches the initramfs's part off, is none.
TabEntry parse_rd_vmdk(std::string_view value);

/// The line of a table, without a line end; parse_tab gives the same entry back.
std::string print_tab_line(const TabEntry& entry);

/// "DEV:PATH:NAME[:OPTIONS]"; parse_rd_vmdk gives the same entry back. Holds no blank and no quote. The entry
/// must have a device.
std::string print_rd_vmdk(const TabEntry& entry);

/// "NAME[=VALUE][,...]" as options of an entry, such as a user gives them on the command line. `what` is
/// where they come from, for messages. Throws TextError.
std::vector<TabOption> parse_tab_options(std::string_view text, const std::string& what);

}  // namespace vmdkdm
