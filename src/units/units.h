// What systemd must know of the entries of vmdktab(5): each becomes an instance of vmdk-dm@.service, with a
// drop-in that says when it can start and what must be gone before it stops. Pure: values in, units as values
// out (systemd.generator(7)).
//
// An entry that cannot be said in a unit is a fault, and the others are made all the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tab/tab.h"
#include "units/fstab.h"

namespace vmdkdm {

/// What the entries meet on this machine.
struct Surroundings {
    std::vector<FstabLine> fstab;
    std::vector<CrypttabLine> crypttab;
    /// By the entry's name: absolute paths of files that the image is made of, as far as they are known.
    std::map<std::string, std::vector<std::string>> files;
    /// Where vmdk-dm@.service and the targets are installed.
    std::string unit_directory;
};

struct UnitFile {
    std::string path;  ///< below the generator's directory
    std::string text;
    friend bool operator==(const UnitFile&, const UnitFile&) = default;
};

struct UnitLink {
    std::string path;    ///< below the generator's directory
    std::string target;  ///< absolute
    friend bool operator==(const UnitLink&, const UnitLink&) = default;
};

struct Units {
    std::vector<UnitFile> files;  ///< no two with the same path
    std::vector<UnitLink> links;
    std::vector<std::string> faults;  ///< whole messages, which begin with "file:line:"
};

/// Faults of the table itself come first.
Units make_units(const Tab& tab, const Surroundings& surroundings);

/// Where the file system of an entry's device is mounted for it: "/run/vmdk-dm/mnt/LABEL=HOST",
/// "/run/vmdk-dm/mnt/dev:sdb1".
std::string mount_directory(const std::string& device);

}  // namespace vmdkdm
