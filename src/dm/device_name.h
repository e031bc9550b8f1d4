// What a mapped device may be called.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace vmdkdm {

/// DM_NAME_LEN is 128 with the NUL; room is left for a partition's "p128" and an inner device's "-origin99".
inline constexpr std::size_t max_name_length = 118;

/// Whether libdevmapper leaves the character as it is.
bool may_stand_in_name(char c);

/// Throws Error (usage) that begins with `what` when `text` holds a character that may not stand in a name.
void check_name_characters(std::string_view what, const std::string& text);

/// Throws Error (usage) when `name` cannot be a disk's name as it stands; `how` ends the advice to choose
/// another.
void check_name(const std::string& name, std::string_view how = " with --name");

}  // namespace vmdkdm
