// Root's powers that a command has no use for.
#pragma once

namespace vmdkdm {

/// Gives up all capabilities but those that open and make files whatever their permissions (CAP_DAC_OVERRIDE,
/// CAP_DAC_READ_SEARCH, CAP_FOWNER) and that confine children (CAP_SETPCAP, CAP_SYS_CHROOT), for this process
/// and what it starts. Root keeps its user id, so that files it makes are root's. For others nothing changes.
void keep_file_access_only();

}  // namespace vmdkdm
