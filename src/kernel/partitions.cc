// Partition tables, by libblkid in user space: the kernel's own parser never sees the foreign table.
#include <blkid/blkid.h>

#include <algorithm>
#include <cerrno>
#include <iomanip>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/linux_kernel.h"
#include "kernel/target_device.h"

namespace vmdkdm {
namespace {

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

std::string type_of(blkid_partition partition) {
    if (const char* type = ::blkid_partition_get_type_string(partition)) return type;
    std::ostringstream type;
    type << "0x" << std::hex << ::blkid_partition_get_type(partition);
    return type.str();
}

}  // namespace

PartitionTable LinuxKernel::probe_partitions(const HeldDevice& disk, std::uint32_t logical_sector_size) {
    const std::unique_ptr<blkid_struct_probe, decltype(&::blkid_free_probe)> probe(::blkid_new_probe(),
                                                                                   &::blkid_free_probe);
    if (!probe || ::blkid_probe_set_device(probe.get(), disk.fd(), 0, 0) != 0)
        throw Error(ErrorKind::system, "libblkid cannot read the disk");
    ::blkid_probe_set_sectorsize(probe.get(), logical_sector_size);
    ::blkid_probe_enable_superblocks(probe.get(), 0);
    ::blkid_probe_enable_partitions(probe.get(), 1);

    std::vector<Partition> partitions;
    // No list is both: no table, and none that could be read.
    errno = 0;
    const blkid_partlist list = ::blkid_probe_get_partitions(probe.get());
    if (list == nullptr && errno == EIO) return {{}, system_error("", EIO).what()};
    const int count = list == nullptr ? 0 : ::blkid_partlist_numof_partitions(list);
    for (int i = 0; i < count; ++i) {
        const blkid_partition found = ::blkid_partlist_get_partition(list, i);
        Partition partition;
        partition.number = static_cast<unsigned>(::blkid_partition_get_partno(found));
        // libblkid counts in 512 bytes whatever the logical sector is.
        partition.start = Sectors(static_cast<std::uint64_t>(::blkid_partition_get_start(found)));
        partition.size = Sectors(static_cast<std::uint64_t>(::blkid_partition_get_size(found)));
        partition.extended = ::blkid_partition_is_extended(found) != 0;
        partition.type = type_of(found);
        partition.label = text_or_empty(::blkid_partition_get_name(found));
        partition.uuid = text_or_empty(::blkid_partition_get_uuid(found));
        partitions.push_back(std::move(partition));
    }
    std::sort(partitions.begin(), partitions.end(),
              [](const Partition& a, const Partition& b) { return a.number < b.number; });
    return {std::move(partitions), ""};
}

std::string signature_on(int fd) {
    const std::unique_ptr<blkid_struct_probe, decltype(&::blkid_free_probe)> probe(::blkid_new_probe(),
                                                                                   &::blkid_free_probe);
    if (!probe || ::blkid_probe_set_device(probe.get(), fd, 0, 0) != 0)
        throw Error(ErrorKind::system, "libblkid cannot read the device");
    ::blkid_probe_enable_superblocks(probe.get(), 1);
    ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
    ::blkid_probe_enable_partitions(probe.get(), 1);
    const int found = ::blkid_do_safeprobe(probe.get());
    if (found == 1) return "";
    if (found == -2) return "several signatures";
    if (found != 0) throw Error(ErrorKind::system, "libblkid cannot read the device");
    const char* type = nullptr;
    if (::blkid_probe_lookup_value(probe.get(), "TYPE", &type, nullptr) == 0) return type;
    if (::blkid_probe_lookup_value(probe.get(), "PTTYPE", &type, nullptr) == 0)
        return concat("a partition table (", type, ")");
    return "a signature";
}

}  // namespace vmdkdm
