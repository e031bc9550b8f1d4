// What is on a block device, in libblkid's words.
#pragma once

#include <string>

namespace vmdkdm {

/// Type and usage are as libblkid has them (blkid(8): TYPE and USAGE).
struct VolumeContent {
    std::string type;     ///< "ext4", "swap", "LVM2_member", "crypto_LUKS", "BitLocker", "linux_raid_member",
                          ///< ... or "ambiguous" where several signatures contradict each other, or
                          ///< "unreadable" where the signatures would be in what cannot be read
    std::string usage;    ///< "filesystem", "raid", "crypto", "other"; empty when ambiguous or unreadable
    std::string label;    ///< may be empty; so may be those below
    std::string uuid;     ///< of a PV its PV UUID, of a member of an array the array's
    std::string version;  ///< of the format, such as "2" of LUKS
};

inline constexpr const char* ambiguous_content = "ambiguous";
inline constexpr const char* unreadable_content = "unreadable";

}  // namespace vmdkdm
