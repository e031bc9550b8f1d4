// libblkid on the bytes of a foreign disk, in a confined child: it knows a hundred formats, and each is a
// parser.
#pragma once

#include <blkid/blkid.h>

#include <functional>
#include <memory>
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

using ProbePtr = std::unique_ptr<blkid_struct_probe, decltype(&::blkid_free_probe)>;
/// On the task's device. Throws Error.
ProbePtr open_probe(const ProbeTask& task);

/// What `decode` makes of what `probe` handed back. Throws Error.
template <class Decode>
auto probe_confined(const ProbeTask& task, Decode&& decode) {
    const ProbePtr probe = open_probe(task);
    ConfinedTask confined;
    confined.worker = "the prober";
    confined.budget = Budget::of_prober();
    confined.keep = {task.fd};
    confined.work = [&](ParentLink&, Encoder& value) { task.probe(probe.get(), value); };
    return value_of_confined(confined, decode);
}

/// What the probe says of `name`; empty when it says nothing.
std::string probed_value(blkid_probe probe, const char* name);

}  // namespace vmdkdm
