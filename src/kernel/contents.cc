// File systems, containers and members of something larger, by libblkid.
#include "kernel/contents.h"

#include <blkid/blkid.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "kernel/confined_probe.h"
#include "kernel/linux_kernel.h"
#include "kernel/probe_value.h"

namespace vmdkdm {
namespace {

constexpr const char* values[] = {"TYPE", "USAGE", "LABEL", "UUID", "VERSION"};

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

Found look(blkid_probe probe) {
    ::blkid_probe_enable_superblocks(probe, 1);
    ::blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL |
                                                   BLKID_SUBLKS_UUID | BLKID_SUBLKS_VERSION);
    const int result = ::blkid_do_safeprobe(probe);
    constexpr int found = 0;
    constexpr int nothing = 1;
    constexpr int ambivalent = -2;
    if (result == found) return Found::content;
    if (result == ambivalent) return Found::ambiguous;
    if (is_unreadable(::blkid_probe_get_fd(probe))) return Found::unreadable;
    if (result == nothing) return Found::nothing;
    throw Error(ErrorKind::system, "libblkid cannot read the device");
}

void encode_content(blkid_probe probe, Encoder& to) {
    const Found found = look(probe);
    to.number(static_cast<std::uint64_t>(found));
    if (found != Found::content) return;
    for (const char* const name : values) to.text(probed_value(probe, name));
}

}  // namespace

std::optional<VolumeContent> LinuxKernel::probe_content(const HeldDevice& device) {
    return probe_confined({device.fd(), 0, "the device", encode_content}, decode_content);
}

}  // namespace vmdkdm
