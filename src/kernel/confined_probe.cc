#include "kernel/confined_probe.h"

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {

ProbePtr open_probe(const ProbeTask& task) {
    ProbePtr probe(::blkid_new_probe(), &::blkid_free_probe);
    // Asks the device for its size and its sectors, and sysfs what it is; reads nothing of it.
    if (!probe || ::blkid_probe_set_device(probe.get(), task.fd, 0, 0) != 0)
        throw Error(ErrorKind::system, concat("libblkid cannot read ", task.what));
    if (task.sector_size != 0) ::blkid_probe_set_sectorsize(probe.get(), task.sector_size);
    ::blkid_probe_get_sectorsize(probe.get());
    return probe;
}

std::string probed_value(blkid_probe probe, const char* name) {
    const char* value = nullptr;
    return ::blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? value : "";
}

}  // namespace vmdkdm
