// MD arrays, through mdadm: assembled read-only out of exactly the members that are given.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "stack/volume.h"

namespace vmdkdm {

/// A member of an array, as its superblock says.
struct ArrayMember {
    std::string path;
    std::string array;        ///< UUID of the array
    std::string name;         ///< of the array, without its home host; may be empty
    std::string device_uuid;  ///< of the member; empty in superblocks of version 0.90
    unsigned devices = 0;     ///< how many members a whole array has
};

bool is_array_member(const Volume& volume);

/// Throws Error.
ArrayMember examine_member(const std::string& path);

/// "/dev/md/<disk>-<array name>"
std::string array_path(const std::string& disk, const ArrayMember& member);

/// Throws Error; then there is no array.
void assemble_array(const std::string& path, const std::vector<std::string>& members);
void stop_array(const std::string& path);

}  // namespace vmdkdm
