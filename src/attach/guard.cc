#include "attach/guard.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_looks_ms = 20;
constexpr unsigned patience_ms = 5000;

std::vector<DmInfo> devices_of(Kernel& kernel, const std::string& id) {
    std::vector<DmInfo> devices = kernel.list_devices();
    std::erase_if(devices, [&id](const DmInfo& device) {
        const auto own = parse_own_uuid(device.uuid);
        return !own || own->id != id;
    });
    return devices;
}

bool is_debris(const DmInfo& device) { return !device.live_table && device.open_count == 0; }

// What the guard is told once devices begin to stay.
constexpr std::string_view word_keeping = "k";

// Partitions hold their disk open, so it takes a few rounds.
void remove_all(Kernel& kernel, const std::string& id) {
    for (const DmInfo& device : devices_of(kernel, id)) {
        if (device.open_count > 0) continue;
        try {
            kernel.remove_device(device.name);
        } catch (const Error&) {
            continue;  // gone, or somebody looks at it: the next round tells
        }
    }
}

bool is_inner(const DmInfo& device) { return !parse_own_uuid(device.uuid)->layer.empty(); }

// A detach goes from the top down. Where it was killed, devices are left that no disk lies on.
void remove_without_disk(Kernel& kernel, const std::string& id) {
    for (std::size_t left = 0;;) {
        const std::vector<DmInfo> devices = devices_of(kernel, id);
        if (devices.size() == left || !std::all_of(devices.begin(), devices.end(), is_inner)) return;
        left = devices.size();
        remove_all(kernel, id);
    }
}

// Runs in the child once the parent is gone: what it made is going, and the nodes with it.
void clean_up_after_parent(Kernel& kernel, const std::string& id, const std::string& disk_name,
                           bool all_is_ours) {
    kernel.settle();  // what the parent has not waited for, or not to the end
    for (unsigned waited_ms = 0; waited_ms < patience_ms; waited_ms += pause_between_looks_ms) {
        if (devices_of(kernel, id).empty()) break;
        if (all_is_ours)
            remove_all(kernel, id);
        else
            remove_debris(kernel, id);
        kernel.pause_ms(pause_between_looks_ms);
    }
    kernel.refresh_nodes(disk_name);
    kernel.settle();
}

}  // namespace

void remove_debris(Kernel& kernel, const std::string& id) {
    std::vector<DmInfo> suspects = devices_of(kernel, id);
    std::erase_if(suspects, [](const DmInfo& device) { return !is_debris(device); });
    if (suspects.empty()) return;
    kernel.pause_ms(pause_between_looks_ms);
    for (const DmInfo& device : devices_of(kernel, id)) {
        const bool was_suspect = std::any_of(suspects.begin(), suspects.end(), [&](const DmInfo& suspect) {
            return suspect.device == device.device && suspect.uuid == device.uuid;
        });
        if (was_suspect && is_debris(device)) kernel.remove_device(device.name);
    }
}

void remove_remnants(Kernel& kernel, const std::string& id) {
    remove_debris(kernel, id);
    remove_without_disk(kernel, id);
}

AttachGuard::AttachGuard(Kernel& kernel, const std::string& id, const std::string& disk_name,
                         const std::function<void()>& also_undo)
    : lock_(kernel, id), process_([&kernel, id, disk_name, also_undo](const std::string& told) {
          clean_up_after_parent(kernel, id, disk_name, told == word_keeping);
          if (also_undo && devices_of(kernel, id).empty()) also_undo();
      }) {}

void AttachGuard::about_to_keep() const { process_.tell(word_keeping); }

}  // namespace vmdkdm
