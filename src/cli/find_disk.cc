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

std::string id_of_image(const std::string& path) {
    try {
        return image_id(open_named_file(path, /*allow_device=*/false)->identity());
    } catch (const Error&) {
        return {};
    }
}

const AttachedDisk* find_disk_if_attached(const std::vector<AttachedDisk>& disks, const std::string& wanted,
                                          Kernel& kernel) {
    for (const AttachedDisk& disk : disks) {
        if (is_called(disk.device, wanted, kernel)) return &disk;
        for (const AttachedPartition& partition : disk.partitions)
            if (is_called(partition.device, wanted, kernel))
                throw Error(ErrorKind::usage,
                            concat("'", wanted, "' is a partition of '", disk.device.name, "'"));
    }
    const std::string id = id_of_image(wanted);
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
