// Partition tables, by libblkid in user space: the kernel's own parser never sees the foreign table.
#include <blkid/blkid.h>

#include <cerrno>
#include <iomanip>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/confined_probe.h"
#include "kernel/linux_kernel.h"
#include "kernel/probe_value.h"
#include "kernel/target_device.h"

namespace vmdkdm {
namespace {

std::string_view text_or_empty(const char* text) { return text == nullptr ? "" : text; }

std::string type_of(blkid_partition partition) {
    if (const char* type = ::blkid_partition_get_type_string(partition)) return type;
    std::ostringstream type;
    type << "0x" << std::hex << ::blkid_partition_get_type(partition);
    return type.str();
}

void encode_partitions(blkid_probe probe, Encoder& to) {
    ::blkid_probe_enable_superblocks(probe, 0);
    ::blkid_probe_enable_partitions(probe, 1);
    // No list is both: no table, and none that could be read.
    errno = 0;
    const blkid_partlist list = ::blkid_probe_get_partitions(probe);
    to.number(list == nullptr && errno == EIO ? 1 : 0);
    const int count = list == nullptr ? 0 : ::blkid_partlist_numof_partitions(list);
    to.number(static_cast<std::uint64_t>(count));
    for (int i = 0; i < count; ++i) {
        const blkid_partition found = ::blkid_partlist_get_partition(list, i);
        to.number(static_cast<std::uint64_t>(::blkid_partition_get_partno(found)));
        to.number(static_cast<std::uint64_t>(::blkid_partition_get_start(found)));
        to.number(static_cast<std::uint64_t>(::blkid_partition_get_size(found)));
        to.number(::blkid_partition_is_extended(found) != 0 ? 1 : 0);
        to.text(type_of(found));
        to.text(text_or_empty(::blkid_partition_get_name(found)));
        to.text(text_or_empty(::blkid_partition_get_uuid(found)));
    }
}

std::string signature_of(blkid_probe probe) {
    ::blkid_probe_enable_superblocks(probe, 1);
    ::blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
    ::blkid_probe_enable_partitions(probe, 1);
    const int found = ::blkid_do_safeprobe(probe);
    if (found == 1) return "";
    if (found == -2) return "several signatures";
    if (found != 0) throw Error(ErrorKind::system, "libblkid cannot read the device");
    if (const std::string type = probed_value(probe, "TYPE"); !type.empty()) return type;
    if (const std::string type = probed_value(probe, "PTTYPE"); !type.empty())
        return concat("a partition table (", type, ")");
    return "a signature";
}

}  // namespace

PartitionTable LinuxKernel::probe_partitions(const HeldDevice& disk, std::uint32_t logical_sector_size) {
    return probe_confined({disk.fd(), logical_sector_size, "the disk", encode_partitions}, decode_partitions);
}

std::string signature_on(int fd) {
    const auto encode = [](blkid_probe probe, Encoder& to) { to.text(signature_of(probe)); };
    return probe_confined({fd, 0, "the device", encode},
                          [](Decoder& from) { return from.text(max_probed_text); });
}

}  // namespace vmdkdm
