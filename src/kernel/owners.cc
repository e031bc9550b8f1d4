#include "kernel/owners.h"

#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

// As losetup and systemd: nothing reserves a number, so parallel attaches collide.
constexpr unsigned max_loop_attempts = 64;

// 1 MiB: what is read ahead is all that a reader through the page cache has under way, and the kernel's 128
// KiB are one read of a disk (ARCHITECTURE.md, "Reads").
constexpr Sectors read_ahead{2048};

// Nobody reads what lies below a disk through its page cache.
bool is_read_by_users(DeviceRole role) { return role != DeviceRole::inner; }

}  // namespace

unsigned FreeLoops::next() {
    const std::lock_guard lock(mutex_);
    const unsigned number = kernel_.free_loop(least_);
    least_ = number + 1;
    return number;
}

LoopDevice LoopDevice::attach(Kernel& kernel, FreeLoops& free, const LoopConfig& config) {
    return with_context(concat("loop device for '", config.file_path, "'"), [&] {
        for (unsigned attempt = 1;; ++attempt) {
            const unsigned number = free.next();
            try {
                HeldDevicePtr held = kernel.configure_loop(number, config);
                const DeviceNumber device = kernel.loop_device(*held);
                return LoopDevice(std::move(held), device);
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::busy || attempt == max_loop_attempts) throw;
            }
        }
    });
}

MappedDevice MappedDevice::create(Kernel& kernel, const std::string& name, const std::string& uuid,
                                  const Table& table, bool read_only, DeviceRole role) {
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
        kernel.resume_device(name, role);
        // A resume sets it to the kernel's own.
        if (is_read_by_users(role)) kernel.set_read_ahead(*mapped.held_, read_ahead);
        return mapped;
    });
}

MappedDevice MappedDevice::adopt(Kernel& kernel, const std::string& name, DeviceNumber device,
                                 DeviceRole role) {
    MappedDevice mapped(kernel, name);
    mapped.device_ = device;
    mapped.held_ = kernel.hold_device(device);
    kernel.remove_when_unused(name);
    // Where no udevd runs, libdevmapper takes the node away with the mark; a resume makes it again.
    kernel.resume_device(name, role);
    if (is_read_by_users(role)) kernel.set_read_ahead(*mapped.held_, read_ahead);
    return mapped;
}

MappedDevice::MappedDevice(MappedDevice&& other) noexcept
    : kernel_(other.kernel_),
      name_(std::move(other.name_)),
      device_(other.device_),
      held_(std::move(other.held_)),
      owned_(std::exchange(other.owned_, false)) {}

MappedDevice::~MappedDevice() { remove(); }

bool MappedDevice::remove() noexcept {
    if (!std::exchange(owned_, false)) return true;
    // The mark is taken back first, so that the removal is ours alone and takes the node along. Where there
    // is no mark yet, nothing is lost.
    const auto succeeds = [](auto&& call) {
        try {
            call();
            return true;
        } catch (const Error&) {
            return false;
        }
    };
    succeeds([this] { kernel_->cancel_deferred_removal(name_); });
    held_.reset();
    if (succeeds([this] { kernel_->remove_device(name_); })) return true;
    succeeds([this] { kernel_->remove_when_unused(name_); });
    return false;
}

}  // namespace vmdkdm
