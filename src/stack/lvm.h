// The lvm tool, kept to the devices of ours that it is to see: it reads no configuration of the host, no
// devices file and no hints, and leaves no backup or archive behind.
#pragma once

#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "stack/lvm_layout.h"

namespace vmdkdm {

class Lvm {
  public:
    /// `pvs`: paths of the only devices that it sees.
    Lvm(const std::vector<std::string>& pvs, const Kernel& kernel);

    /// Every VG that has one of the PVs, its missing ones included. Takes no locks and writes nothing.
    std::vector<LvmGroup> report() const;
    /// New UUIDs and the name `vg` for the VG of `pvs`, written to them.
    void import_clone(const std::vector<std::string>& pvs, const std::string& vg) const;
    void rename(const std::string& vg, const std::string& to) const;
    void activate(const std::string& vg) const;
    void deactivate(const std::string& vg) const;

  private:
    std::string run(std::vector<std::string> words) const;

    std::string config_;
    bool udev_;
};

}  // namespace vmdkdm
