// vmdk-dm list: what is attached, read from the kernel alone.
#include <iostream>
#include <memory>

#include "attach/attached.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

struct ListOptions {
    bool json = false;
};

Json lower_as_json(const AttachedLower& lower) {
    if (!lower.loop)
        return {{"device", to_string(lower.device)},
                {"loop", nullptr},
                {"file", nullptr},
                {"readOnly", nullptr},
                {"directIo", nullptr},
                {"exceptionStore", false}};
    return {{"device", to_string(lower.device)}, {"loop", lower.loop->node},
            {"file", lower.loop->backing_file},  {"readOnly", lower.loop->read_only},
            {"directIo", lower.loop->direct_io}, {"exceptionStore", lower.exception_store}};
}

void print_as_json(const std::vector<AttachedDisk>& disks, Kernel& kernel) {
    Json list = Json::array();
    for (const AttachedDisk& disk : disks) {
        Json partitions = Json::array();
        for (const AttachedPartition& partition : disk.partitions)
            partitions.push_back({{"number", partition.number},
                                  {"path", kernel.device_path(partition.device.name)},
                                  {"device", to_string(partition.device.device)},
                                  {"start", to_bytes(partition.start).count()},
                                  {"size", to_bytes(partition.size).count()},
                                  {"mounts", partition.mount_points}});
        Json inner = Json::array();
        for (const AttachedInner& device : disk.inner)
            inner.push_back({{"path", kernel.device_path(device.device.name)},
                             {"device", to_string(device.device.device)}});
        Json lowers = Json::array();
        for (const AttachedLower& lower : disk.lowers) lowers.push_back(lower_as_json(lower));
        list.push_back({{"name", disk.device.name},
                        {"image", disk.image ? Json(*disk.image) : Json(nullptr)},
                        {"disk", kernel.device_path(disk.device.name)},
                        {"device", to_string(disk.device.device)},
                        {"uuid", disk.device.uuid},
                        {"capacity", to_bytes(disk.capacity).count()},
                        {"readOnly", disk.device.read_only},
                        {"exposed", disk.exposed ? Json(*disk.exposed) : Json(nullptr)},
                        {"deferredRemove", disk.device.deferred_remove},
                        {"mounts", disk.mount_points},
                        {"partitions", partitions},
                        {"inner", inner},
                        {"lowers", lowers}});
    }
    print_json(list);
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
    return text.empty() ? "-" : text;
}

// What the image's own files are on; exception stores are not of interest.
std::string backing_of(const AttachedDisk& disk) {
    std::string text;
    constexpr std::size_t shown = 4;
    std::size_t count = 0;
    for (const AttachedLower& lower : disk.lowers) {
        if (lower.exception_store || ++count > shown) continue;
        text += concat(text.empty() ? "" : " ", lower.loop ? lower.loop->node : to_string(lower.device));
    }
    if (count > shown) text += concat(" and ", count - shown, " more");
    return text.empty() ? "-" : text;
}

void print_as_text(const std::vector<AttachedDisk>& disks, Kernel& kernel) {
    if (disks.empty()) {
        std::cerr << "vmdk-dm: nothing is attached\n";
        return;
    }
    using enum TextTable::Align;
    TextTable table({{"DEVICE", left}, {"ACCESS", left}, {"MOUNTED", left}, {"ON", left}, {"IMAGE", left}});
    for (const AttachedDisk& disk : disks) {
        const std::string access =
            concat(disk.device.read_only ? "ro" : "rw", disk.exposed.value_or(false) ? " exposed" : "");
        table.add({kernel.device_path(disk.device.name), access, joined(disk.mount_points), backing_of(disk),
                   disk.image.value_or("(unknown)")});
        for (const AttachedPartition& partition : disk.partitions)
            table.add({kernel.device_path(partition.device.name), access, joined(partition.mount_points),
                       disk.device.name, ""});
    }
    table.print();
}

void run(const ListOptions& options) {
    LinuxKernel kernel(UdevUse::off);
    const std::vector<AttachedDisk> disks =
        with_context("cannot list", [&] { return list_attached(kernel); });
    options.json ? print_as_json(disks, kernel) : print_as_text(disks, kernel);
}

}  // namespace

void add_list_command(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("list", "Show what is attached: images, devices, loops, mounts");
    const auto options = std::make_shared<ListOptions>();
    command.add_flag("--json", options->json, "Print a JSON array");
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
