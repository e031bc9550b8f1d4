// From the name on an extent line to names that a Linux file system may have for it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "files/file_opener.h"

namespace vmdkdm {

/// The names to try for `name`, best first: converted from `encoding` (a name such as "windows-1252" or
/// "GBK"; may be empty) to UTF-8, the bytes as they are, and both with `\` as `/`. The conversion comes
/// before the separators: in Shift_JIS, GBK and Big5 the second byte of a character can be a backslash.
std::vector<std::string> file_name_candidates(const std::string& name, const std::string& encoding);

/// The same; `opener` is told first when there is something to convert.
std::vector<std::string> file_name_candidates(const std::string& name, const std::string& encoding,
                                              FileOpener& opener);

/// Loads what a conversion from `encoding` takes, for as long as the process lives. Nothing happens when
/// there is no such character set.
void load_encoding(const std::string& encoding);

/// The last part of a name that is absolute on Linux, Windows ("C:\VMs\x.vmdk", "\\server\share\x.vmdk") or
/// ESXi ("[datastore] dir/x.vmdk"), where there is a file of that name to be looked for. A device is none.
std::optional<std::string> base_name_of_absolute(const std::string& name);

/// Throws Error (format) for what is no file on any host but its own: a device of Windows
/// ("\\.\PhysicalDrive0"), an object on vSAN ("vsan://...").
void refuse_unreachable_name(const std::string& name);

}  // namespace vmdkdm
