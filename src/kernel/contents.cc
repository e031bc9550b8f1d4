// File systems, containers and members of something larger, by libblkid.
#include "kernel/contents.h"

#include <blkid/blkid.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

std::string value_of(blkid_probe probe, const char* name) {
    const char* value = nullptr;
    return ::blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? value : "";
}

// To libblkid what it cannot read is nothing. Nearly all signatures stand in these first bytes; the last is
// that of btrfs.
bool is_unreadable(int fd) {
    constexpr std::size_t signatures_end = 68 * 1024;
    std::vector<char> bytes(signatures_end);
    // A read that meets bad sectors gives what is before them first.
    for (off_t at = 0; at < static_cast<off_t>(bytes.size());) {
        const ssize_t got = ::pread(fd, bytes.data(), bytes.size() - static_cast<std::size_t>(at), at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 && errno == EIO;
        at += got;
    }
    return false;
}

}  // namespace

std::optional<VolumeContent> LinuxKernel::probe_content(const HeldDevice& device) {
    const std::unique_ptr<blkid_struct_probe, decltype(&::blkid_free_probe)> probe(::blkid_new_probe(),
                                                                                   &::blkid_free_probe);
    if (!probe || ::blkid_probe_set_device(probe.get(), device.fd(), 0, 0) != 0)
        throw Error(ErrorKind::system, "libblkid cannot read the device");
    ::blkid_probe_enable_superblocks(probe.get(), 1);
    ::blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                         BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
                                                         BLKID_SUBLKS_VERSION);
    const int result = ::blkid_do_safeprobe(probe.get());
    constexpr int found = 0;
    constexpr int nothing = 1;
    constexpr int ambivalent = -2;
    switch (result) {
        case found:
            return VolumeContent{value_of(probe.get(), "TYPE"), value_of(probe.get(), "USAGE"),
                                 value_of(probe.get(), "LABEL"), value_of(probe.get(), "UUID"),
                                 value_of(probe.get(), "VERSION")};
        case ambivalent:
            return VolumeContent{ambiguous_content, "", "", "", ""};
        default:
            if (is_unreadable(device.fd())) return VolumeContent{unreadable_content, "", "", "", ""};
            if (result == nothing) return std::nullopt;
            throw Error(ErrorKind::system, "libblkid cannot read the device");
    }
}

}  // namespace vmdkdm
