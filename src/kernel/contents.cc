// File systems, containers and members of something larger, by libblkid.
#include "kernel/contents.h"

#include <blkid/blkid.h>

#include "base/error.h"
#include "kernel/confined_probe.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

enum class Found : std::uint64_t { nothing, content, ambiguous };

constexpr const char* values[] = {"TYPE", "USAGE", "LABEL", "UUID", "VERSION"};

Found look(blkid_probe probe) {
    ::blkid_probe_enable_superblocks(probe, 1);
    ::blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_LABEL |
                                                   BLKID_SUBLKS_UUID | BLKID_SUBLKS_VERSION);
    switch (::blkid_do_safeprobe(probe)) {
        case 0:
            return Found::content;
        case 1:
            return Found::nothing;
        case -2:
            return Found::ambiguous;
        default:
            throw Error(ErrorKind::system, "libblkid cannot read the device");
    }
}

void encode_content(blkid_probe probe, Encoder& to) {
    const Found found = look(probe);
    to.number(static_cast<std::uint64_t>(found));
    if (found != Found::content) return;
    for (const char* const name : values) to.text(probed_value(probe, name));
}

std::optional<VolumeContent> decode_content(Decoder& from) {
    const auto found =
        static_cast<Found>(from.number(static_cast<std::uint64_t>(Found::ambiguous), "what was found"));
    if (found == Found::nothing) return std::nullopt;
    if (found == Found::ambiguous) return VolumeContent{ambiguous_content, "", "", "", ""};
    VolumeContent content;
    for (std::string* const value :
         {&content.type, &content.usage, &content.label, &content.uuid, &content.version})
        *value = harmless(from.text(max_probed_text));
    return content;
}

}  // namespace

std::optional<VolumeContent> LinuxKernel::probe_content(const HeldDevice& device) {
    return probe_confined({device.fd(), 0, "the device", encode_content}).checked(prober, decode_content);
}

}  // namespace vmdkdm
