#include "stack/activate.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "confine/value.h"
#include "kernel/owners.h"
#include "plan/names.h"
#include "stack/array.h"
#include "stack/crypt.h"
#include "stack/hidden.h"
#include "stack/lvm.h"

namespace vmdkdm {

class Activation::Impl {
  public:
    explicit Impl(Kernel& kernel) : kernel_(kernel) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { undo(); }

    void add(MappedDevice device, MadeVolume volume) {
        steps_.push_back({std::make_unique<MappedDevice>(std::move(device)), nullptr, volume.path});
        made.push_back(std::move(volume));
        kernel_.throw_if_interrupted();
    }
    /// What another program made, and how to take it down again.
    void add(std::function<void()> take_down, const std::string& what) {
        steps_.push_back({nullptr, std::move(take_down), what});
        kernel_.throw_if_interrupted();
    }

    void require_nodes() const {
        for (const Step& step : steps_)
            if (step.device) kernel_.require_node(step.device->name(), step.device->device());
    }

    void keep() {
        for (const Step& step : steps_)
            if (step.device) step.device->cancel_removal();
        leave_to_users();
    }

    void leave_to_users() {
        for (; !steps_.empty(); steps_.pop_back())
            if (steps_.back().device) steps_.back().device->release();
    }

    // Returns what could not be undone.
    std::string undo() noexcept {
        std::string left;
        for (; !steps_.empty(); steps_.pop_back())
            if (!take_down(steps_.back())) left += concat(left.empty() ? "" : ", ", steps_.back().what);
        kernel_.settle();
        drop_old_rules(kernel_);
        return left;
    }

    std::vector<MadeVolume> made;

  private:
    struct Step {
        std::unique_ptr<MappedDevice> device;
        std::function<void()> take_down;
        std::string what;
    };

    static bool take_down(const Step& step) noexcept {
        if (step.device) return step.device->remove();
        try {
            step.take_down();
            return true;
        } catch (const std::exception&) {
            return false;
        }
    }

    Kernel& kernel_;
    std::vector<Step> steps_;
};

Activation::Activation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Activation::Activation(Activation&&) noexcept = default;
Activation::~Activation() = default;
const std::vector<MadeVolume>& Activation::made() const { return impl_->made; }
void Activation::keep() { impl_->keep(); }
void Activation::leave_to_users() { impl_->leave_to_users(); }

namespace {

constexpr std::size_t max_dm_name_length = 127;
constexpr int attempts_at_a_prompt = 3;
// Of one group: kilobytes of metadata could claim thousands, each of which costs udev and the kernel.
constexpr std::size_t most_volumes = 256;

bool has_child(const Volume& volume, VolumeKind kind) {
    return std::any_of(volume.children.begin(), volume.children.end(),
                       [kind](const Volume& child) { return child.kind == kind; });
}

bool is_pv(const Volume& volume) { return volume.content && volume.content->type == "LVM2_member"; }

// Writes go into an overlay and not into the image itself.
bool has_overlay(const AttachedDisk& disk) {
    return std::any_of(disk.inner.begin(), disk.inner.end(), [](const AttachedInner& inner) {
        const auto own = parse_own_uuid(inner.device.uuid);
        return own && own->layer == "base";
    });
}

std::string without_hyphens(std::string uuid) {
    std::erase(uuid, '-');
    return uuid;
}

std::optional<DeviceNumber> device_of_node(const std::string& path) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
    return DeviceNumber{major(status.st_rdev), minor(status.st_rdev)};
}

// Brings things up round by round: what comes up may hold the next thing.
class Activator {
  public:
    Activator(const std::vector<AttachedDisk>& disks, const ActivateOptions& options, Kernel& kernel,
              Activation::Impl& built)
        : disks_(disks), options_(options), kernel_(kernel), built_(built) {}

    void run(std::vector<std::string>& notes) {
        do {
            look();
        } while (assemble_arrays() || open_containers() || bring_up_groups());
        refuse_unused_keys();
        if (options_.vg_name && !vg_name_used_)
            throw Error(ErrorKind::usage, "--vg-name: there is no volume group to be brought up");
        if (std::string note = kernel_.settle(); !note.empty()) notes.push_back(std::move(note));
        built_.require_nodes();
        kernel_.throw_if_interrupted();
        notes.insert(notes.end(), notes_.begin(), notes_.end());
        notes.insert(notes.end(), lvm_notes_.begin(), lvm_notes_.end());
    }

  private:
    struct Found {
        const AttachedDisk* disk;
        const Volume* volume;
    };

    void look() {
        if (std::string note = kernel_.settle(); !note.empty()) notes_.push_back(std::move(note));
        forest_.clear();
        for (const AttachedDisk& disk : disks_) forest_.push_back(survey(disk, kernel_));
        volumes_.clear();
        std::set<DeviceNumber> seen;
        for (std::size_t i = 0; i < disks_.size(); ++i)
            for (const Volume* volume : bottom_up(forest_[i]))
                if (seen.insert(volume->device).second) volumes_.push_back({&disks_[i], volume});
    }

    template <class Predicate>
    std::vector<Found> those(Predicate&& wanted) const {
        std::vector<Found> found;
        std::copy_if(volumes_.begin(), volumes_.end(), std::back_inserter(found),
                     [&](const Found& candidate) { return wanted(*candidate.volume); });
        return found;
    }

    void check_new_name(const std::string& name) const {
        if (name.size() > max_dm_name_length)
            throw Error(ErrorKind::usage,
                        concat("the device name '", name, "' would be longer than ", max_dm_name_length,
                               " bytes (attach the disk with a shorter --name)"));
        for (const DmInfo& device : kernel_.list_devices())
            if (device.name == name)
                throw Error(ErrorKind::busy, concat("the device name '", name, "' is taken"));
    }

    // MD arrays.

    bool assemble_arrays() {
        if (options_.skip_arrays) return false;
        std::map<std::string, std::vector<std::pair<Found, ArrayMember>>> arrays;
        for (const Found& found :
             those([](const Volume& volume) { return is_array_member(volume) && volume.children.empty(); }))
            if (!given_up_.contains(found.volume->path)) {
                ArrayMember member = examine_member(found.volume->path);
                const std::string array = member.array;
                arrays[array].emplace_back(found, std::move(member));
            }
        bool made = false;
        for (const auto& [uuid, members] : arrays) made = assemble(members) || made;
        return made;
    }

    bool assemble(const std::vector<std::pair<Found, ArrayMember>>& members) {
        std::map<std::string, std::string> by_device_uuid;
        std::vector<std::string> paths;
        for (const auto& [found, member] : members) {
            const auto [other, is_new] = by_device_uuid.emplace(member.device_uuid, member.path);
            if (!is_new && !member.device_uuid.empty())
                throw Error(
                    ErrorKind::refused,
                    concat(other->second, " and ", member.path,
                           " are the same member of an array (clones?): activate one disk at a time"));
            paths.push_back(member.path);
        }
        const ArrayMember& first = members.front().second;
        const std::string path = array_path(members.front().first.disk->device.name, first);
        if (std::filesystem::exists(path)) throw Error(ErrorKind::busy, concat(path, " is there already"));
        given_up_.insert(paths.begin(), paths.end());
        if (const std::string why = why_not_hidden(kernel_); !why.empty()) {
            notes_.push_back(concat(path, " is not brought up: ", why));
            return false;
        }
        std::vector<DeviceNumber> devices;
        for (const auto& [found, member] : members) devices.push_back(found.volume->device);
        HiddenDevices hidden(kernel_);
        hidden.hide_array(devices);
        const std::string count = concat(paths.size(), " of ", first.devices, " members are here");
        try {
            assemble_array(path, paths);
        } catch (const Error& error) {
            if (paths.size() >= first.devices) throw error.within(path);
            notes_.push_back(concat(path, " is not brought up: ", count));
            return false;
        }
        built_.add([path] { stop_array(path); }, path);
        const std::string name = std::filesystem::path(path).filename().string();
        built_.made.push_back({VolumeKind::array, name, path, device_of_node(path).value_or(DeviceNumber{})});
        if (paths.size() < first.devices) notes_.push_back(concat(path, " is degraded: ", count));
        return true;
    }

    // LUKS and BitLocker.

    bool open_containers() {
        bool made = false;
        for (const Found& found : those([](const Volume& volume) {
                 return is_container(volume) && !has_child(volume, VolumeKind::crypt);
             }))
            made = open(*found.volume) || made;
        return made;
    }

    bool open(const Volume& container) {
        if (given_up_.contains(container.path)) return false;
        const std::string name = container_name(container);
        return with_context(container.path, [&] {
            check_new_name(name);
            if (!open_with_some_key(container, name)) return false;
            for (const DmInfo& device : kernel_.list_devices())
                if (device.name == name)
                    built_.add(MappedDevice::adopt(kernel_, name, device.device, DeviceRole::inner),
                               {VolumeKind::crypt, name, kernel_.device_path(name), device.device});
            return true;
        });
    }

    bool open_with_some_key(const Volume& container, const std::string& name) {
        const Secret* key = given_key(container);
        if (key != nullptr) {
            if (!opens(container, name, *key)) refuse_key();
            return true;
        }
        if (options_.keys.ask) {
            for (int attempt = 0; attempt < attempts_at_a_prompt; ++attempt)
                if (opens(container, name, options_.keys.ask(container))) return true;
            refuse_key();
        }
        if (!options_.skip_locked)
            throw Error(ErrorKind::refused, "it is encrypted and needs a key (see --key-file)");
        given_up_.insert(container.path);
        notes_.push_back(concat(container.path, " is encrypted and stays closed (see --key-file)"));
        return false;
    }

    [[noreturn]] static void refuse_key() { throw Error(ErrorKind::refused, "the key does not open it"); }

    // Editors and echo end a file with a line feed that the passphrase does not have: then it is tried
    // without.
    bool opens(const Volume& container, const std::string& name, const Secret& key) const {
        if (open_container(container, name, key, is_read_only(container), kernel_)) return true;
        const std::string& bytes = key.bytes();
        return bytes.size() > 1 && bytes.back() == '\n' &&
               open_container(container, name, Secret(bytes.substr(0, bytes.size() - 1)),
                              is_read_only(container), kernel_);
    }

    bool is_read_only(const Volume& volume) const { return options_.read_only || volume.read_only; }

    // Each source is read once: a pipe gives its bytes but once.
    const Secret* given_key(const Volume& container) {
        for (const auto& [wanted, source] : options_.keys.by_volume)
            for (const Volume& disk : forest_)
                if (const Volume* volume = find_volume(disk, wanted);
                    volume != nullptr && volume->device == container.device)
                    return &read_once(wanted, source);
        if (options_.keys.for_all) return &read_once("", *options_.keys.for_all);
        return nullptr;
    }

    const Secret& read_once(const std::string& wanted, const KeySource& source) {
        const auto known = keys_.find(wanted);
        return known != keys_.end() ? known->second : keys_.emplace(wanted, read_key(source)).first->second;
    }

    void refuse_unused_keys() const {
        for (const auto& [wanted, source] : options_.keys.by_volume)
            if (!keys_.contains(wanted))
                throw Error(ErrorKind::usage,
                            concat("--key ", wanted, "=...: there is no such encrypted volume to be opened"));
    }

    // LVM.

    bool bring_up_groups() {
        const std::vector<Found> pvs = those(is_pv);
        std::vector<std::string> paths;
        for (const Found& pv : pvs) paths.push_back(pv.volume->path);
        if (paths.empty() || std::exchange(pvs_seen_, paths) == paths) return false;
        refuse_clones(pvs);
        lvm_notes_.clear();
        std::vector<LvmGroup> groups = Lvm(paths, kernel_).report();
        std::erase_if(groups, [this](const LvmGroup& group) { return is_refused(group); });
        if (options_.vg_name && !is_lvm_name(*options_.vg_name))
            throw Error(ErrorKind::usage,
                        concat("--vg-name: no volume group can be called '", *options_.vg_name, "'"));
        if (options_.vg_name && groups.size() > 1)
            throw Error(ErrorKind::usage, concat("--vg-name gives one name, but there are ", groups[0].name,
                                                 " and ", groups[1].name, " (activate one disk at a time)"));
        bool made = false;
        for (const LvmGroup& group : groups) made = bring_up(group, pvs) || made;
        return made;
    }

    bool is_refused(const LvmGroup& group) {
        if (is_lvm_name(group.name)) return false;
        lvm_notes_.push_back(
            concat("no volume group can be called '", group.name, "': it is not brought up"));
        return true;
    }

    static void refuse_clones(const std::vector<Found>& pvs) {
        std::map<std::string, std::string> by_uuid;
        for (const Found& pv : pvs) {
            const auto [other, is_new] = by_uuid.emplace(pv.volume->content->uuid, pv.volume->path);
            if (!is_new)
                throw Error(ErrorKind::refused,
                            concat(other->second, " and ", pv.volume->path,
                                   " are the same physical volume (clones?): activate one disk at a time"));
        }
    }

    // The PVs of the group that are here.
    std::vector<Found> members(const LvmGroup& group, const std::vector<Found>& pvs) const {
        std::vector<Found> found;
        for (const LvmPv& pv : group.pvs)
            for (const Found& candidate : pvs)
                if (!pv.missing && device_of_node(pv.path) == candidate.volume->device)
                    found.push_back(candidate);
        return found;
    }

    bool bring_up(const LvmGroup& group, const std::vector<Found>& pvs) {
        const std::vector<Found> here = members(group, pvs);
        if (here.empty() || is_up_through_lvm(group, here)) return false;
        const bool read_only =
            std::any_of(here.begin(), here.end(), [&](const Found& pv) { return is_read_only(*pv.volume); });
        const bool complete = here.size() == group.pvs.size();
        const bool on_overlays =
            std::all_of(here.begin(), here.end(), [](const Found& pv) { return has_overlay(*pv.disk); });
        if (options_.vg_name) refuse_to_write(read_only, on_overlays);

        const PvFinder find = [&](const std::string& path) -> std::optional<LowerPv> {
            const auto device = device_of_node(path);
            for (const Found& pv : here)
                if (device == pv.volume->device) return LowerPv{*device, whole_sectors(pv.volume->size)};
            return std::nullopt;
        };
        std::vector<std::pair<const LvmVolume*, LvmTable>> tables;
        bool needs_lvm = options_.vg_name.has_value();
        for (const LvmVolume& volume : group.volumes) {
            if (!volume.is_public()) continue;
            if (tables.size() == most_volumes) {
                lvm_notes_.push_back(
                    concat("of ", group.name, " only the first ", most_volumes, " volumes are brought up"));
                break;
            }
            tables.emplace_back(&volume, table_of(volume, group, find, read_only));
            needs_lvm = needs_lvm || tables.back().second.needs_lvm;
        }
        const bool may_be_lvms = on_overlays && !read_only;
        if (needs_lvm && complete && may_be_lvms) {
            const std::string why = why_not_through_lvm(group);
            if (why.empty()) return bring_up_copy(group, here);
            if (options_.vg_name) throw Error(ErrorKind::refused, concat("--vg-name: ", why));
            lvm_notes_.push_back(concat("lvm is not asked to bring up ", group.name, ": ", why));
        }
        return map_volumes(group, tables, *here.front().disk, read_only, may_be_lvms);
    }

    static void refuse_to_write(bool read_only, bool on_overlays) {
        if (read_only)
            throw Error(ErrorKind::refused,
                        "--vg-name writes to the disk, which is read-only (attach it with "
                        "--scratch or --overlay, then activate)");
        if (!on_overlays)
            throw Error(ErrorKind::refused,
                        "--vg-name would write into the image, which is attached in place "
                        "(attach it with --scratch or --overlay, then activate)");
    }

    bool is_up_through_lvm(const LvmGroup& group, const std::vector<Found>& here) const {
        const std::string prefix = concat("LVM-", without_hyphens(group.uuid));
        for (const DmInfo& device : kernel_.list_devices())
            for (const Found& pv : here)
                for (const Volume& child : pv.volume->children)
                    if (child.device == device.device && device.uuid.starts_with(prefix)) return true;
        return false;
    }

    // As devices of our own.
    bool map_volumes(const LvmGroup& group, const std::vector<std::pair<const LvmVolume*, LvmTable>>& tables,
                     const AttachedDisk& disk, bool read_only, bool may_be_lvms) {
        std::set<std::string> uuids;
        for (const DmInfo& device : kernel_.list_devices()) uuids.insert(device.uuid);
        bool made = false;
        for (const auto& [volume, table] : tables) {
            const std::string name = concat(group.name, "/", volume->name);
            if (!table.table) {
                lvm_notes_.push_back(concat(name, " is not brought up: ", table.why,
                                            table.needs_lvm && !may_be_lvms
                                                ? " (attach the disk with --scratch or --overlay, "
                                                  "then activate it)"
                                                : ""));
                continue;
            }
            const std::string uuid = logical_volume_uuid(disk.id, volume->uuid);
            if (uuids.contains(uuid)) continue;
            const std::string device_name = logical_volume_name(disk.device.name, group.name, volume->name);
            check_new_name(device_name);
            MappedDevice device =
                MappedDevice::create(kernel_, device_name, uuid, *table.table, read_only || volume->read_only,
                                     DeviceRole::quarantined);
            const DeviceNumber number = device.device();
            built_.add(std::move(device),
                       {VolumeKind::logical_volume, name, kernel_.device_path(device_name), number});
            made = true;
        }
        return made;
    }

    // Through lvm, as a VG of another name and other UUIDs than the host may have.
    bool bring_up_copy(const LvmGroup& group, const std::vector<Found>& here) {
        std::string prefix = here.front().disk->device.name + "_";
        std::replace_if(
            prefix.begin(), prefix.end(),
            [](char c) { return std::string_view("#:=@").find(c) != std::string_view::npos; }, '_');
        const bool has_prefix = !options_.vg_name && group.name.starts_with(prefix);
        const std::string name = has_prefix ? group.name : options_.vg_name.value_or(prefix + group.name);
        vg_name_used_ = true;
        std::vector<std::string> paths;
        for (const Found& pv : here) paths.push_back(pv.volume->path);
        const Lvm lvm(paths, kernel_);
        import(lvm, paths, group.name, name);
        {
            HiddenDevices hidden(kernel_);
            hidden.hide_group(uuid_of(name, lvm));
            built_.add([lvm, name] { lvm.deactivate(name); }, concat("the volume group ", name));
            lvm.activate(name);
        }
        add_volumes_of(name);
        return true;
    }

    // Always with new UUIDs: what has its name already may have it, and its UUIDs, from whoever made the
    // image.
    static void import(const Lvm& lvm, const std::vector<std::string>& paths, const std::string& from,
                       const std::string& to) {
        if (from != to) return lvm.import_clone(paths, to);
        const std::string between = to + "_";
        lvm.import_clone(paths, between);
        lvm.rename(between, to);
    }

    static std::string uuid_of(const std::string& vg, const Lvm& lvm) {
        const std::vector<LvmGroup> groups = lvm.report();
        if (groups.size() != 1 || groups.front().name != vg)
            throw Error(ErrorKind::system, concat("lvm does not know the volume group ", vg, " alone"));
        return groups.front().uuid;
    }

    // Why a group stays without lvm although it needs it.
    std::string why_not_through_lvm(const LvmGroup& group) const {
        if (group.volumes.size() > most_volumes) return concat("it has ", group.volumes.size(), " volumes");
        for (const LvmVolume& volume : group.volumes)
            if (!is_lvm_name(volume.name)) return concat("no volume can be called '", volume.name, "'");
        return why_not_hidden(kernel_);
    }

    void add_volumes_of(const std::string& vg) {
        look();
        std::vector<MadeVolume> found;
        for (const auto& [disk, volume] : volumes_)
            if (volume->kind == VolumeKind::logical_volume && volume->name.starts_with(vg + "/"))
                found.push_back({volume->kind, volume->name, volume->path, volume->device});
        built_.made.insert(built_.made.end(), found.begin(), found.end());
    }

    const std::vector<AttachedDisk>& disks_;
    const ActivateOptions& options_;
    Kernel& kernel_;
    Activation::Impl& built_;
    std::vector<Volume> forest_;  // one tree for each disk
    std::vector<Found> volumes_;  // of all trees, each device once
    std::vector<std::string> pvs_seen_;
    std::set<std::string> given_up_;  // paths that need not be looked at again
    std::map<std::string, Secret> keys_;
    std::vector<std::string> notes_;
    std::vector<std::string> lvm_notes_;  // of the last look at LVM: a later round may bring up more
    bool vg_name_used_ = false;
};

}  // namespace

Activation activate(const std::vector<AttachedDisk>& disks, const ActivateOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes) {
    auto built = std::make_unique<Activation::Impl>(kernel);
    try {
        Activator(disks, options, kernel, *built).run(notes);
    } catch (const Error& error) {
        const std::string left = built->undo();
        if (left.empty()) throw;
        throw Error(error.kind(), concat(error.what(), " (", left, " could not be taken down again)"));
    }
    return Activation(std::move(built));
}

}  // namespace vmdkdm
