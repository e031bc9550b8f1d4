// What an attach has built so far; undone newest first unless it is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/concat.h"
#include "kernel/owners.h"

namespace vmdkdm {

class Assembly {
  public:
    explicit Assembly(Kernel& kernel) : kernel_(kernel) {}
    Assembly(const Assembly&) = delete;
    Assembly& operator=(const Assembly&) = delete;
    ~Assembly() { undo(); }

    const std::vector<std::optional<LoopDevice>>& add(std::vector<std::optional<LoopDevice>> loops) {
        loops_ = std::move(loops);
        return loops_;
    }
    const MappedDevice& add(MappedDevice device) {
        devices_.push_back(std::make_unique<MappedDevice>(std::move(device)));
        kernel_.throw_if_interrupted();
        return *devices_.back();
    }

    void require_nodes() const {
        for (const auto& device : devices_) kernel_.require_node(device->name(), device->device());
    }

    void keep() {
        for (const auto& device : devices_) device->cancel_removal();
        leave_to_users();
    }

    // The marks that are left say what becomes of each device. What lies above is released first.
    void leave_to_users() {
        for (; !devices_.empty(); devices_.pop_back()) devices_.back()->release();
        loops_.clear();
    }

    // Returns what could not be undone; empty when the kernel is as it was.
    std::string undo() noexcept {
        std::string left;
        for (; !devices_.empty(); devices_.pop_back())
            if (!devices_.back()->remove()) left += concat(left.empty() ? "" : ", ", devices_.back()->name());
        loops_.clear();
        kernel_.settle();
        return left;
    }

  private:
    Kernel& kernel_;
    std::vector<std::optional<LoopDevice>> loops_;
    std::vector<std::unique_ptr<MappedDevice>> devices_;
};

}  // namespace vmdkdm
