#include "cli/find_disk.h"

#include "base/concat.h"
#include "base/error.h"
#include "files/confined_opener.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

bool is_called(const DmInfo& device, const std::string& wanted, Kernel& kernel) {
    return device.name == wanted || kernel.device_path(device.name) == wanted;
}

}  // namespace

const AttachedDisk* find_disk_if_attached(const std::vector<AttachedDisk>& disks, const std::string& wanted,
                                          Kernel& kernel) {
    for (const AttachedDisk& disk : disks) {
        if (is_called(disk.device, wanted, kernel)) return &disk;
        for (const AttachedPartition& partition : disk.partitions)
            if (is_called(partition.device, wanted, kernel))
                throw Error(ErrorKind::usage,
                            concat("'", wanted, "' is a partition of '", disk.device.name, "'"));
    }
    std::string id;
    try {
        id = image_id(ConfinedOpener({}).open_image(wanted)->identity());
    } catch (const Error&) {
        return nullptr;  // not a file either
    }
    for (const AttachedDisk& disk : disks)
        if (disk.id == id) return &disk;
    return nullptr;
}

const AttachedDisk& find_disk(const std::vector<AttachedDisk>& disks, const std::string& wanted,
                              Kernel& kernel) {
    if (const AttachedDisk* disk = find_disk_if_attached(disks, wanted, kernel)) return *disk;
    throw Error(ErrorKind::not_found, concat("'", wanted, "' is not attached (see vmdk-dm list)"));
}

}  // namespace vmdkdm
