// libblkid on the bytes of a foreign disk, in a confined child: it knows a hundred formats, and each is a
// parser.
#pragma once

#include <blkid/blkid.h>

#include <functional>
#include <string>

#include "confine/confined_child.h"

namespace vmdkdm {

struct ProbeTask {
    int fd = -1;               ///< of the device, open for reading
    unsigned sector_size = 0;  ///< 0: what the device says
    std::string what;          ///< "the disk", for messages
    /// In the child. Throws Error.
    std::function<void(blkid_probe, Encoder&)> probe = {};
};

inline const std::string prober = "the prober";

/// What `probe` handed back, to be checked. Throws Error.
HandedBack probe_confined(const ProbeTask& task);

/// What the probe says of `name`; empty when it says nothing.
std::string probed_value(blkid_probe probe, const char* name);

/// At most so many bytes of a text that libblkid found are believed.
inline constexpr std::size_t max_probed_text = 4096;

}  // namespace vmdkdm
