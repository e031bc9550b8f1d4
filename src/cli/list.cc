// vmdk-dm list: what is attached, read from the kernel alone.
#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "attach/attached.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

struct ListOptions {
    bool json = false;
    std::optional<std::string> wait_low;  ///< a percentage, or "true"
};

// The status when an overlay is low, overflowed or invalid.
constexpr int status_low = 7;

// A fast disk writes some hundred megabytes in that time.
constexpr unsigned pause_between_looks_ms = 500;

Json lower_as_json(const AttachedLower& lower) {
    if (!lower.loop)
        return {{"device", to_string(lower.device)},
                {"loop", nullptr},
                {"file", nullptr},
                {"readOnly", nullptr},
                {"directIo", nullptr},
                {"exceptionStore", false},
                {"overlay", false},
                {"missing", nullptr}};
    return {{"device", to_string(lower.device)}, {"loop", lower.loop->node},
            {"file", lower.loop->backing_file},  {"readOnly", lower.loop->read_only},
            {"directIo", lower.loop->direct_io}, {"exceptionStore", lower.exception_store},
            {"overlay", lower.overlay},          {"missing", lower.loop->missing.count()}};
}

Json overlay_as_json(const std::optional<AttachedOverlay>& overlay, unsigned low_percent) {
    if (!overlay) return nullptr;
    return {{"file", overlay->scratch ? Json(nullptr) : Json(overlay->loop.backing_file)},
            {"scratch", overlay->scratch},
            {"state", to_string(condition_of(*overlay, low_percent))},
            {"percent", percent_used(*overlay)},
            {"used", overlay->used.count()},
            {"limit", overlay->limit.count()},
            {"room", overlay->room ? Json(overlay->room->count()) : Json(nullptr)}};
}

void print_as_json(const std::vector<AttachedDisk>& disks, unsigned low_percent, Kernel& kernel) {
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
                        {"overlay", overlay_as_json(disk.overlay, low_percent)},
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
        if (lower.exception_store || lower.overlay || ++count > shown) continue;
        text += concat(text.empty() ? "" : " ", lower.loop ? lower.loop->node : to_string(lower.device));
    }
    if (count > shown) text += concat(" and ", count - shown, " more");
    return text.empty() ? "-" : text;
}

// "3 % of 10.0 GiB in /cases/web.overlay", and what is wrong with it.
std::string overlay_as_text(const std::optional<AttachedOverlay>& overlay, unsigned low_percent) {
    if (!overlay) return "-";
    const OverlayCondition condition = condition_of(*overlay, low_percent);
    return concat(condition == OverlayCondition::ok ? "" : concat(to_string(condition), ": "),
                  percent_used(*overlay), " % of ", human_size(reachable_limit(*overlay)), " in ",
                  overlay->scratch ? "memory" : overlay->loop.backing_file);
}

bool has_overlay(const AttachedDisk& disk) { return disk.overlay.has_value(); }

void print_as_text(const std::vector<AttachedDisk>& disks, unsigned low_percent, Kernel& kernel) {
    if (disks.empty()) {
        err() << "vmdk-dm: nothing is attached\n";
        return;
    }
    using enum TextTable::Align;
    std::vector<std::pair<std::string, TextTable::Align>> header = {
        {"DEVICE", left}, {"ACCESS", left}, {"MOUNTED", left}, {"ON", left}, {"IMAGE", left}};
    const bool with_overlays = std::any_of(disks.begin(), disks.end(), has_overlay);
    if (with_overlays) header.insert(header.end() - 1, {"OVERLAY", left});
    TextTable table(header);
    const auto add = [&](std::vector<std::string> row, const std::string& overlay) {
        if (with_overlays) row.insert(row.end() - 1, overlay);
        table.add(std::move(row));
    };
    for (const AttachedDisk& disk : disks) {
        const std::string access =
            concat(disk.device.read_only ? "ro" : "rw", disk.exposed.value_or(false) ? " exposed" : "");
        add({kernel.device_path(disk.device.name), access, joined(disk.mount_points), backing_of(disk),
             disk.image.value_or("(unknown)")},
            overlay_as_text(disk.overlay, low_percent));
        for (const AttachedPartition& partition : disk.partitions)
            add({kernel.device_path(partition.device.name), access, joined(partition.mount_points),
                 disk.device.name, ""},
                "");
    }
    table.print();
}

unsigned low_percent_for(const ListOptions& options) {
    if (!options.wait_low || *options.wait_low == flag_without_value) return default_low_percent;
    const std::string& text = *options.wait_low;
    unsigned percent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
    if (error != std::errc() || end != text.data() + text.size() || percent < 1 || percent > 100)
        throw Error(ErrorKind::usage, concat("--wait-low '", text, "' is not a percentage from 1 to 100"));
    return percent;
}

bool any_is_low(const std::vector<AttachedDisk>& disks, unsigned low_percent) {
    return std::any_of(disks.begin(), disks.end(), [low_percent](const AttachedDisk& disk) {
        return disk.overlay && condition_of(*disk.overlay, low_percent) != OverlayCondition::ok;
    });
}

void run(const ListOptions& options) {
    LinuxKernel kernel(UdevUse::off);
    const unsigned low_percent = low_percent_for(options);
    const auto look = [&kernel] {
        return with_context("cannot list", [&] { return list_attached(kernel); });
    };
    std::vector<AttachedDisk> disks = look();
    // Without a deadline: whoever waits for this has nothing else to do, and a signal ends it.
    while (options.wait_low && !any_is_low(disks, low_percent) &&
           std::any_of(disks.begin(), disks.end(), has_overlay)) {
        kernel.pause_ms(pause_between_looks_ms);
        disks = look();
    }
    for (const AttachedDisk& disk : disks) print_notes(notes_on_files(disk, kernel));
    options.json ? print_as_json(disks, low_percent, kernel) : print_as_text(disks, low_percent, kernel);
    if (any_is_low(disks, low_percent)) throw ExitStatus{status_low};
}

}  // namespace

void add_list_command(Command& app) {
    Command command = app.add_command("list", "Show what is attached: images, devices, loops, mounts");
    const auto options = std::make_shared<ListOptions>();
    command.add_flag("--json", options->json, "Print a JSON array");
    command.add_flag("--wait-low", options->wait_low, "PERCENT",
                     "Wait until an overlay is used to PERCENT (90) or has next to no room left, or none is "
                     "attached any more");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
