// Encrypted volumes, through libcryptsetup: LUKS 1 and 2, BitLocker.
#pragma once

#include <string>

#include "kernel/kernel.h"
#include "stack/keys.h"
#include "stack/volume.h"

namespace vmdkdm {

bool is_container(const Volume& volume);

/// "<device>-crypt"
std::string container_name(const Volume& volume);

/// Makes /dev/mapper/`name` out of the container, hidden from udev's other rules. Nothing is written to it,
/// not even a repair of a damaged LUKS2 header. Returns false when the key is not one of its keys; throws
/// Error otherwise.
bool open_container(const Volume& container, const std::string& name, const Secret& key, bool read_only,
                    const Kernel& kernel);

}  // namespace vmdkdm
