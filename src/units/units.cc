#include "units/units.h"

#include <algorithm>
#include <set>

#include "base/concat.h"
#include "tab/device.h"
#include "tab/time_span.h"
#include "units/unit_name.h"
#include "units/unit_text.h"

namespace vmdkdm {
namespace {

constexpr std::string_view local_target = "vmdk-dm.target";
constexpr std::string_view remote_target = "vmdk-dm-remote.target";

bool all_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

constexpr std::string_view mapped = "/dev/mapper/";
constexpr std::string_view linked = "/dev/disk/by-vmdk/";

// What stands between the entry's name and the partition's number in the name of its device.
std::string delimiter_of(const TabEntry& entry) {
    const TabOption* option = entry.find("delimiter");
    if (option != nullptr && option->value) return *option->value;
    return all_digits(entry.name.substr(entry.name.size() - 1)) ? "p" : "";
}

bool is_partition_of(std::string_view device, const TabEntry& entry, std::string_view delimiter) {
    const std::string prefix = concat(entry.name, delimiter);
    return device.starts_with(prefix) && all_digits(device.substr(prefix.size()));
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string seconds(std::uint64_t microseconds) {
    return microseconds == infinite_time ? "infinity" : concat(microseconds, "us");
}

// Without those that another one is below: its mounts are needed for that one too.
std::vector<std::string> longest_paths(std::set<std::string> paths) {
    std::vector<std::string> longest;
    for (const std::string& path : paths) {
        const auto next = paths.lower_bound(path + "/");
        if (next == paths.end() || !next->starts_with(path + "/")) longest.push_back(path);
    }
    return longest;
}

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}

class UnitMaker {
  public:
    UnitMaker(const Tab& tab, const Surroundings& surroundings) : tab_(tab), surroundings_(surroundings) {}

    Units make() {
        for (const TabFault& fault : tab_.faults) made_.faults.emplace_back(fault.error.what());
        find_used_devices();
        for (const TabEntry& entry : tab_.entries) {
            const std::size_t files = made_.files.size();
            const std::size_t links = made_.links.size();
            try {
                add(entry);
            } catch (const TextError& error) {
                made_.files.resize(files);
                made_.links.resize(links);
                made_.faults.emplace_back(error.what());
            }
        }
        return std::move(made_);
    }

  private:
    // Which partitions fstab and crypttab use. An entry's own name goes before the partition of another.
    void find_used_devices() {
        std::set<std::string> sources;
        for (const FstabLine& line : surroundings_.fstab) sources.insert(line.source);
        for (const CrypttabLine& line : surroundings_.crypttab) sources.insert(line.source);
        for (const std::string& source : sources)
            if (const TabEntry* entry = owner_of(source)) used_devices_[entry->name].insert(source);
        for (const TabEntry& entry : tab_.entries)
            used_devices_[entry.name].insert(concat(mapped, entry.name));
    }

    const TabEntry* owner_of(const std::string& source) const {
        const bool is_link = source.starts_with(linked);
        if (!is_link && !source.starts_with(mapped)) return nullptr;
        const std::string device = source.substr((is_link ? linked : mapped).size());
        if (const TabEntry* entry = tab_.find(device)) return entry;
        const auto owner = std::find_if(tab_.entries.begin(), tab_.entries.end(), [&](const TabEntry& entry) {
            return is_partition_of(device, entry, is_link ? "-part" : delimiter_of(entry));
        });
        return owner == tab_.entries.end() ? nullptr : &*owner;
    }

    void add(const TabEntry& entry) {
        refuse_what_no_unit_can_say(entry);
        const std::string service = service_of(entry.name);
        UnitText unit(entry.place());
        unit.section("Unit").set("SourcePath", without_specifiers(entry.file_name));
        // What the initramfs has attached is under the root file system: it is never stopped, and what it
        // needs is not systemd's to mount.
        if (!entry.has("x-initrd.attach")) {
            add_what_it_needs(entry, unit);
            add_its_devices(entry, service, unit);
            unit.set("Conflicts", "umount.target").set("Before", "umount.target");
        }
        add_place_in_boot(entry, service, unit);
        add_own_dependencies(entry, service, unit);
        if (const TabOption* timeout = entry.find("timeout"))
            unit.section("Service").set("TimeoutStartSec", seconds(*parse_time_span(*timeout->value)));
        add_file({concat(service, ".d/50-vmdktab.conf"), unit.text()});
    }

    void refuse_what_no_unit_can_say(const TabEntry& entry) const {
        if (service_of(entry.name).size() > max_unit_name_length)
            entry.fail(entry.name_offset, concat("'", entry.name, "' is too long for the name of a unit"));
        const auto refuse_control = [&](const std::string& text, std::size_t offset) {
            if (std::any_of(text.begin(), text.end(), is_control))
                entry.fail(offset, "a control character cannot stand in a unit");
        };
        refuse_control(entry.image.device, entry.image_offset);
        refuse_control(entry.image.path, entry.image_offset);
        for (const TabOption& option : entry.options)
            if (option.value) refuse_control(*option.value, option.offset);
        refuse_other_host_options(entry);
        // The next line would belong to it.
        const auto refuse_end = [&](const std::string& text, std::size_t offset) {
            if (text.ends_with('\\'))
                entry.fail(offset, "a '\\' cannot stand at the end of a line of a unit");
        };
        if (entry.image.device.empty()) return;
        refuse_end(device_path(entry.image.device), entry.image_offset);
        // Of another entry perhaps: the device is mounted once.
        if (const TabOption* options = host_options(tab_, entry.image.device)) {
            const TabOption* own = entry.find("host-options");
            refuse_end(*options->value, own == nullptr ? entry.image_offset : own->offset);
        }
        const std::string mount_unit = unit_path_escape(mount_directory(entry.image.device)) + ".mount";
        if (std::max(mount_unit.size(), device_unit(entry.image.device).size()) > max_unit_name_length)
            entry.fail(entry.image_offset,
                       concat("'", entry.image.device, "' is too long for the name of a unit"));
    }

    // Mounts and devices
    // ------------------------------------------------------------------------------------------------

    void add_what_it_needs(const TabEntry& entry, UnitText& unit) {
        for (const std::string& path : longest_paths(needed_paths(entry)))
            unit.set("RequiresMountsFor", quoted_path(path));
        for (const std::string& device : needed_devices(entry))
            unit.set("BindsTo", device_unit(device)).set("After", device_unit(device));
        const std::string device = source_device(entry);
        if (device.empty()) return;
        // What appears later (a disk that is plugged in) starts what wants it.
        if (!entry.noauto()) link(device_unit(device), "wants", service_of(entry.name));
        if (entry.image.device.empty()) return;
        unit.set("BindsTo", device_unit(device)).set("After", device_unit(device));
        if (const TabOption* timeout = entry.find("x-systemd.device-timeout")) {
            UnitText drop_in(entry.place());
            drop_in.section("Unit").set("JobRunningTimeoutSec", seconds(*parse_time_span(*timeout->value)));
            add_file({concat(device_unit(device), ".d/50-vmdktab.conf"), drop_in.text()});
        }
    }

    std::set<std::string> needed_paths(const TabEntry& entry) {
        std::set<std::string> paths;
        if (entry.image.device.empty()) {
            paths.insert(entry.image.path);
            const auto known = surroundings_.files.find(entry.name);
            if (known != surroundings_.files.end())
                for (const std::string& file : known->second)
                    if (can_be_said(file)) paths.insert(directory_of(file));
            for (const std::string& path : entry.option_paths()) paths.insert(path);
        } else if (const FstabLine* line = fstab_line_of(entry.image.device)) {
            paths.insert(line->directory);
        } else {
            add_mount(entry);
            paths.insert(mount_directory(entry.image.device));
        }
        for (const std::string& path : entry.values("x-systemd.requires-mounts-for")) paths.insert(path);
        return paths;
    }

    // Extents may be block devices (allow-devices).
    std::set<std::string> needed_devices(const TabEntry& entry) const {
        std::set<std::string> devices;
        const auto known = surroundings_.files.find(entry.name);
        if (known != surroundings_.files.end())
            for (const std::string& file : known->second)
                if (file.starts_with("/dev/") && can_be_said(file)) devices.insert(file);
        return devices;
    }

    // What is in the image's descriptor is somebody else's.
    static bool can_be_said(const std::string& file) {
        return std::none_of(file.begin(), file.end(), is_control) &&
               device_unit(file).size() <= max_unit_name_length;
    }

    // The device that the image's file system is on; empty where that is not known, or is the root's.
    std::string source_device(const TabEntry& entry) const {
        if (!entry.image.device.empty()) return entry.image.device;
        const FstabLine* line = file_system_of(entry.image.path, surroundings_.fstab);
        if (line == nullptr || line->directory == "/") return "";
        return device_path(line->source).starts_with("/dev/") ? line->source : "";
    }

    const FstabLine* fstab_line_of(const std::string& device) const {
        const auto& fstab = surroundings_.fstab;
        const auto found = std::find_if(fstab.begin(), fstab.end(), [&](const FstabLine& line) {
            return line.directory.starts_with('/') && device_path(line.source) == device_path(device) &&
                   !is_bind(line) && !has_subvolume(line);
        });
        return found == fstab.end() ? nullptr : &*found;
    }
    static bool is_bind(const FstabLine& line) { return line.has("bind") || line.has("rbind"); }
    // Not the file system's root, which the paths of DEV:PATH begin at.
    static bool has_subvolume(const FstabLine& line) {
        return std::any_of(line.options.begin(), line.options.end(), [](const std::string& option) {
            return option.starts_with("subvol=") || option.starts_with("subvolid=");
        });
    }

    // The file system of a device, mounted for as long as an entry needs it. Entries share it.
    void add_mount(const TabEntry& entry) {
        const std::string directory = mount_directory(entry.image.device);
        const std::string name = unit_path_escape(directory) + ".mount";
        if (has_file(name)) return;
        const bool remote = any_on_device(entry, [&](const TabEntry& other) { return is_remote(other); });
        const bool writes = any_on_device(entry, [](const TabEntry& other) { return other.writes(); });
        const std::string options =
            concat(device_mount_options(tab_, entry.image.device), remote ? ",_netdev" : "");

        UnitText unit(entry.place());
        unit.section("Unit")
            .set("Description",
                 concat("File system of VMDK images (", without_specifiers(entry.image.device), ")"))
            .set("Documentation", "man:vmdktab(5)")
            .set("SourcePath", without_specifiers(entry.file_name))
            // Mounts usually come before local-fs.target, so that one that is missing would hold the boot.
            .set("DefaultDependencies", "no")
            .set("StopWhenUnneeded", "yes")
            .set("After", remote ? "remote-fs-pre.target network-online.target" : "local-fs-pre.target")
            .set("Conflicts", "umount.target")
            .set("Before", "umount.target");
        unit.section("Mount")
            .set("What", without_specifiers(device_path(entry.image.device)))
            .set("Where", without_specifiers(directory))
            .set("Options", without_specifiers(options));
        // A disk that was pulled out must not keep its place from the next one. A file system that was
        // written to is unmounted in earnest: only then is it clean.
        if (!writes) unit.set("LazyUnmount", "yes");
        add_file({name, unit.text()});
    }

    template <class Condition>
    bool any_on_device(const TabEntry& entry, Condition&& condition) const {
        return std::any_of(tab_.entries.begin(), tab_.entries.end(), [&](const TabEntry& other) {
            return other.image.device == entry.image.device && condition(other);
        });
    }

    void refuse_other_host_options(const TabEntry& entry) const {
        const TabOption* own = entry.find("host-options");
        if (own == nullptr || entry.image.device.empty()) return;
        const std::string& chosen = *host_options(tab_, entry.image.device)->value;
        if (own->value != chosen)
            entry.fail(own->offset, concat("another entry of this device says host-options=", chosen,
                                           ", and it is mounted once"));
    }

    void add_its_devices(const TabEntry& entry, const std::string& service, UnitText& unit) {
        for (const std::string& device : used_devices_[entry.name]) {
            // So a mount from fstab or a line of crypttab pulls the entry in, and fails at once when it
            // fails.
            link(device_unit(device), "requires", service);
            // Mounts and swaps on the device wait for this target, and so they are stopped before us.
            const std::string prepared = concat("blockdev@", unit_path_escape(device), ".target");
            unit.set("Wants", prepared).set("Before", prepared);
        }
    }

    // Place in the boot
    // ------------------------------------------------------------------------------------------------

    void add_place_in_boot(const TabEntry& entry, const std::string& service, UnitText& unit) {
        const bool remote = is_remote(entry);
        const std::string_view target = remote ? remote_target : local_target;
        if (remote)
            unit.set("Wants", "network-online.target")
                .set("After", "remote-fs-pre.target network-online.target");
        if (entry.noauto()) return;
        if (!entry.nofail()) unit.set("Before", target);
        if (opens_before_cryptsetup(entry))
            unit.set("Wants", "cryptsetup-pre.target").set("Before", "cryptsetup-pre.target");
        if (!entry.values("x-systemd.wanted-by").empty() || !entry.values("x-systemd.required-by").empty())
            return;
        link(target, entry.nofail() || entry.has("x-initrd.attach") ? "wants" : "requires", service);
        link_shipped(remote ? "multi-user.target" : "sysinit.target", "wants", target);
    }

    bool is_remote(const TabEntry& entry) const {
        if (entry.has("_netdev")) return true;
        const FstabLine* line = entry.image.device.empty()
                                    ? file_system_of(entry.image.path, surroundings_.fstab)
                                    : fstab_line_of(entry.image.device);
        return line != nullptr && line->is_remote();
    }

    // Then containers in it are closed before it is detached. Not where the boot would wait for a disk that
    // may be missing, nor where crypttab opens what the image lies on: that would be a cycle.
    bool opens_before_cryptsetup(const TabEntry& entry) const {
        if (entry.has("late") || entry.nofail() || is_remote(entry)) return false;
        const std::string below = source_device(entry);
        return std::none_of(
            surroundings_.crypttab.begin(), surroundings_.crypttab.end(),
            [&](const CrypttabLine& line) { return below == concat("/dev/mapper/", line.name); });
    }

    void add_own_dependencies(const TabEntry& entry, const std::string& service, UnitText& unit) {
        for (const std::string& other : own_units(entry, "x-systemd.requires"))
            unit.set("Requires", other).set("After", other);
        for (const std::string& other : own_units(entry, "x-systemd.after")) unit.set("After", other);
        for (const std::string& other : own_units(entry, "x-systemd.before")) unit.set("Before", other);
        for (const std::string& other : own_units(entry, "x-systemd.wanted-by"))
            link(other, "wants", service);
        for (const std::string& other : own_units(entry, "x-systemd.required-by"))
            link(other, "requires", service);
    }

    // A path stands for its mount or device, as in fstab.
    static std::vector<std::string> own_units(const TabEntry& entry, std::string_view name) {
        std::vector<std::string> units;
        for (const TabOption& option : entry.options) {
            if (option.name != name) continue;
            std::string unit = *option.value;
            if (unit.starts_with("/dev/"))
                unit = device_unit(unit);
            else if (unit.starts_with('/'))
                unit = unit_path_escape(unit) + ".mount";
            if (!is_unit_name(unit))
                entry.fail(option.offset,
                           concat("'", unit, "' is not the name of a unit (such as x.service)"));
            units.push_back(unit);
        }
        return units;
    }

    // What is made
    // ------------------------------------------------------------------------------------------------

    void link(std::string_view of, std::string_view how, const std::string& service) {
        add_link(
            {concat(of, ".", how, "/", service), concat(surroundings_.unit_directory, "/vmdk-dm@.service")});
    }

    void link_shipped(std::string_view of, std::string_view how, std::string_view unit) {
        add_link({concat(of, ".", how, "/", unit), concat(surroundings_.unit_directory, "/", unit)});
    }

    void add_link(UnitLink link) {
        if (std::find(made_.links.begin(), made_.links.end(), link) == made_.links.end())
            made_.links.push_back(std::move(link));
    }

    bool has_file(const std::string& path) const {
        return std::any_of(made_.files.begin(), made_.files.end(),
                           [&](const UnitFile& file) { return file.path == path; });
    }

    void add_file(UnitFile file) {
        if (!has_file(file.path)) made_.files.push_back(std::move(file));
    }

    const Tab& tab_;
    const Surroundings& surroundings_;
    std::map<std::string, std::set<std::string>> used_devices_;
    Units made_;
};

}  // namespace

Units make_units(const Tab& tab, const Surroundings& surroundings) {
    return UnitMaker(tab, surroundings).make();
}

std::string mount_directory(const std::string& device) {
    constexpr std::string_view node = "/dev/";
    std::string directory = device.starts_with(node) ? "dev:" : "";
    for (const char c : device.substr(device.starts_with(node) ? node.size() : 0)) {
        const bool stays = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           std::string_view("._=:@+-").find(c) != std::string_view::npos;
        constexpr std::string_view hex = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        directory += stays ? std::string(1, c) : std::string{'%', hex[byte >> 4], hex[byte & 15]};
    }
    return concat("/run/vmdk-dm/mnt/", directory);
}

}  // namespace vmdkdm
