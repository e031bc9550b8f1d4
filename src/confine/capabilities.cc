#include "confine/capabilities.h"

#include <cap-ng.h>

#include <cerrno>

#include "base/error.h"

namespace vmdkdm {

void keep_file_access_only() {
    capng_get_caps_process();
    const bool overrides = capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_OVERRIDE) != 0;
    const bool reads = capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_READ_SEARCH) != 0;
    const bool owns = capng_have_capability(CAPNG_EFFECTIVE, CAP_FOWNER) != 0;
    const auto kept = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET);
    capng_clear(CAPNG_SELECT_BOTH);
    if (overrides) capng_update(CAPNG_ADD, kept, CAP_DAC_OVERRIDE);
    if (reads) capng_update(CAPNG_ADD, kept, CAP_DAC_READ_SEARCH);
    if (owns) capng_update(CAPNG_ADD, kept, CAP_FOWNER);
    // Without CAP_SETPCAP the bounding set stays; the process itself has lost them all the same.
    capng_apply(CAPNG_SELECT_BOUNDS);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) throw system_error("cannot drop capabilities", EPERM);
}

}  // namespace vmdkdm
