#include "kernel/owners.h"

#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

// As losetup and systemd: GET_FREE reserves nothing, so parallel attaches collide.
constexpr unsigned max_loop_attempts = 64;

}  // namespace

LoopDevice LoopDevice::attach(Kernel& kernel, const LoopConfig& config) {
    return with_context(concat("loop device for '", config.file_path, "'"), [&] {
        for (unsigned attempt = 1;; ++attempt) {
            const unsigned number = kernel.free_loop();
            try {
                HeldDevicePtr held = kernel.configure_loop(number, config);
                return LoopDevice(std::move(held), kernel.loop_device(number));
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::busy || attempt == max_loop_attempts) throw;
            }
            kernel.pause_ms(attempt);
        }
    });
}

MappedDevice MappedDevice::create(Kernel& kernel, const std::string& name, const std::string& uuid,
                                  const Table& table, bool read_only) {
    return with_context(concat("device '", name, "'"), [&] {
        const DeviceNumber device = kernel.create_device(name, uuid);
        MappedDevice mapped(kernel, name);
        mapped.device_ = device;
        // Held and marked before it has its table, so that from here on the kernel removes it should we die.
        // It can be opened only once it has had some table: the kernel adds the disk at the first load.
        kernel.load_table(name, Table({{Sectors(0), Sectors(1), ErrorTarget{}}}), read_only);
        mapped.held_ = kernel.hold_device(device);
        kernel.remove_when_unused(name);
        kernel.load_table(name, table, read_only);
        kernel.resume_device(name);
        return mapped;
    });
}

MappedDevice::MappedDevice(MappedDevice&& other) noexcept
    : kernel_(std::exchange(other.kernel_, nullptr)),
      name_(std::move(other.name_)),
      device_(other.device_),
      held_(std::move(other.held_)),
      kept_(other.kept_) {}

MappedDevice::~MappedDevice() {
    if (kernel_ == nullptr || kept_) return;
    // The mark is taken back first, so that the removal below is ours alone and takes the node along. Should
    // any of this fail, the mark is still there and the kernel removes the device when the last user closes
    // it.
    try {
        kernel_->cancel_deferred_removal(name_);
    } catch (const Error&) {
    }
    held_.reset();
    try {
        kernel_->remove_device(name_);
    } catch (const Error&) {
        try {
            kernel_->remove_when_unused(name_);
        } catch (const Error&) {
        }
    }
}

}  // namespace vmdkdm
