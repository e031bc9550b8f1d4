// Owners of what an attach makes in the kernel. Each undoes itself unless kept, and so does a killed process:
// loops are AUTOCLEAR, mapped devices carry a deferred removal and are held open until they are kept.
#pragma once

#include <mutex>
#include <string>

#include "kernel/kernel.h"

namespace vmdkdm {

/// Numbers of free loop devices, each once: several threads that ask the kernel would be told the same one.
class FreeLoops {
  public:
    explicit FreeLoops(Kernel& kernel) : kernel_(kernel) {}
    /// Throws Error.
    unsigned next();

  private:
    Kernel& kernel_;
    std::mutex mutex_;
    unsigned least_ = 0;
};

class LoopDevice {
  public:
    /// Binds a free loop device; goes on to the next number when another process takes one first.
    static LoopDevice attach(Kernel& kernel, FreeLoops& free, const LoopConfig& config);

    DeviceNumber device() const { return device_; }
    const HeldDevice& held() const { return *held_; }

  private:
    LoopDevice(HeldDevicePtr held, DeviceNumber device) : held_(std::move(held)), device_(device) {}

    HeldDevicePtr held_;  // closing it clears the loop, unless a mapped device uses it
    DeviceNumber device_;
};

class MappedDevice {
  public:
    /// Creates, loads and resumes. Throws Error; nothing is left then.
    static MappedDevice create(Kernel& kernel, const std::string& name, const std::string& uuid,
                               const Table& table, bool read_only, DeviceRole role);

    /// One that a library has just made, live: held and marked like our own. Throws Error; it is then
    /// removed.
    static MappedDevice adopt(Kernel& kernel, const std::string& name, DeviceNumber device, DeviceRole role);

    MappedDevice(MappedDevice&& other) noexcept;
    MappedDevice& operator=(MappedDevice&&) = delete;
    ~MappedDevice();

    const std::string& name() const { return name_; }
    DeviceNumber device() const { return device_; }
    const HeldDevice& held() const { return *held_; }

    /// Takes back the mark that removes the device should we die. Throws Error.
    void cancel_removal() { kernel_->cancel_deferred_removal(name_); }
    /// From here on the device stays when its owner goes.
    void release() noexcept {
        owned_ = false;
        held_.reset();
    }
    /// Removes the device, as the destructor does. Returns false when it is in use: then it goes with its
    /// last user.
    bool remove() noexcept;

  private:
    MappedDevice(Kernel& kernel, std::string name) : kernel_(&kernel), name_(std::move(name)) {}

    Kernel* kernel_;
    std::string name_;
    DeviceNumber device_;
    HeldDevicePtr held_;
    bool owned_ = true;  // false once moved from, released or removed
};

}  // namespace vmdkdm
