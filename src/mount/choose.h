// Which volume of a disk is meant. Pure: it looks at a survey.
#pragma once

#include <string>

#include "stack/volume.h"

namespace vmdkdm {

/// How a volume is called after the image's colon: "2", "vg0/root"; empty for the disk itself.
std::string selector_of(const Volume& volume);

/// Something on the disk (LVM, LUKS, BitLocker, MD) that may hold further volumes and is not brought up.
bool has_closed_container(const Volume& disk);

/// Whether `wanted` names a volume that leads to nothing but a closed container.
bool leads_to_closed_container(const Volume& disk, const std::string& wanted);

/// The volume that `wanted` names ("2", "vg0/root", a name, "LABEL=x", "UUID=x"), or what alone lies on it,
/// or for an empty text the disk's only file system. `image` is what the user wrote, for messages. Throws
/// Error: not_found when there is none, refused when there are several or it is no file system; with a list
/// of what could be meant.
const Volume& choose_file_system(const Volume& disk, const std::string& wanted, const std::string& image);

}  // namespace vmdkdm
