#include "confine/capabilities.h"

#include <cap-ng.h>

#include <cerrno>
#include <vector>

#include "base/error.h"

namespace vmdkdm {
namespace {

// CAP_SETPCAP is what empties the bounding set of a confined child, CAP_SYS_CHROOT what empties its root.
constexpr unsigned kept[] = {CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SETPCAP, CAP_SYS_CHROOT};

}  // namespace

void keep_file_access_only() {
    capng_get_caps_process();
    std::vector<unsigned> held;
    for (const unsigned capability : kept)
        if (capng_have_capability(CAPNG_EFFECTIVE, capability) != 0) held.push_back(capability);
    capng_clear(CAPNG_SELECT_BOTH);
    for (const unsigned capability : held)
        capng_update(CAPNG_ADD,
                     static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET),
                     capability);
    // Without CAP_SETPCAP the bounding set stays; the process itself has lost the others all the same.
    capng_apply(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) throw system_error("cannot drop capabilities", EPERM);
}

}  // namespace vmdkdm
