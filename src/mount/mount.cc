#include "mount/mount.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "confine/confined_child.h"
#include "mount/choose.h"
#include "mount/mount_point.h"
#include "mount/our_mounts.h"
#include "mount/system_mount.h"
#include "mount/unclean.h"
#include "plan/names.h"
#include "stack/activate.h"
#include "stack/volume.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_looks_ms = 10;
constexpr unsigned patience_ms = 1000;
constexpr std::size_t max_unclean_mark = 1000;

// What has been mounted so far; undone newest first unless it is kept.
class MountedSoFar {
  public:
    MountedSoFar() = default;
    MountedSoFar(const MountedSoFar&) = delete;
    MountedSoFar& operator=(const MountedSoFar&) = delete;
    ~MountedSoFar() {
        for (; !directories_.empty(); directories_.pop_back()) {
            try {
                unmount(directories_.back());
            } catch (const Error&) {
                // Somebody has entered it within these milliseconds: it is theirs to leave.
            }
        }
    }
    void add(const std::string& directory) { directories_.push_back(directory); }
    const std::vector<std::string>& directories() const { return directories_; }
    void keep() { directories_.clear(); }

  private:
    std::vector<std::string> directories_;
};

// How the user would ask for it.
std::string called(const ImageToMount& image, const Volume& volume) {
    const std::string selector = selector_of(volume);
    return concat(image.as_given, selector.empty() ? "" : ":", selector);
}

UniqueFd open_device(const Volume& volume) {
    UniqueFd fd(::open(volume.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) throw system_error(concat("cannot open ", volume.path), errno);
    return fd;
}

std::string unclean_mark_on(const Volume& volume) {
    const UniqueFd fd = open_device(volume);
    const auto read_at = [&fd](std::uint64_t offset, std::size_t size) {
        std::vector<std::byte> data(size);
        const ssize_t got = ::pread(fd.get(), data.data(), size, static_cast<off_t>(offset));
        data.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return data;
    };
    ConfinedTask task;
    task.worker = "the prober";
    task.budget = Budget::of_prober();
    task.keep = {fd.get()};
    task.work = [&](ParentLink&, Encoder& value) { value.text(unclean_mark(volume.content->type, read_at)); };
    return value_of_confined(task, [](Decoder& from) { return from.text(max_unclean_mark); });
}

bool holds_hibernated_windows(const std::string& directory) {
    const UniqueFd fd(
        ::open((directory + "/hiberfil.sys").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    std::vector<std::byte> beginning(4);
    return fd && ::read(fd.get(), beginning.data(), beginning.size()) == 4 && is_hibernation(beginning);
}

// The driver's own rules, when it goes by another name than the file system.
FileSystemRules rules_of_driver(const std::string& type) {
    const FileSystemRules rules = rules_for(type);
    for (const std::string& driver : rules.drivers)
        if (driver == rules.drivers.back() || has_mount_helper(driver))
            return driver == rules.type ? rules : rules_for(driver);
    return rules;
}

[[noreturn]] void report_failure(const MountCall& call, const MountOutcome& outcome) {
    if (outcome.error == ENODEV)
        throw Error(ErrorKind::system,
                    concat("this kernel has no driver '", call.driver, "' (-t chooses another)"));
    throw Error(outcome.error == EBUSY ? ErrorKind::busy : ErrorKind::system,
                concat("mounting ", call.device, " as ", call.driver, ": ", outcome.message));
}

enum class Outcome { found, not_yet, nothing };

// Whether a volume can be chosen already; not yet, when it is closed or one of several.
Outcome look_for(const Volume& disk, const std::string& wanted, const std::string& image) {
    try {
        choose_file_system(disk, wanted, image);
        return Outcome::found;
    } catch (const Error& error) {
        return error.kind() == ErrorKind::not_found ? Outcome::nothing : Outcome::not_yet;
    }
}

class Mounter {
  public:
    Mounter(const std::vector<ImageToMount>& images, const std::vector<MountRequest>& requests,
            const MountOptions& options, const MountGuard& guard, Kernel& kernel,
            std::vector<std::string>& notes)
        : images_(images),
          requests_(requests),
          options_(options),
          guard_(guard),
          kernel_(kernel),
          notes_(notes) {}

    std::vector<MountedFileSystem> run() {
        for (const ImageToMount& image : images_)
            with_context(concat("cannot attach '", image.as_given, "'"), [&] { attach_one(image); });
        mount_all();
        for (Activation& activation : activations_) activation.leave_to_users();
        for (Attachment& attachment : attachments_) attachment.leave_to_users();
        wait_for_unused();
        return std::move(result_);
    }

  private:
    void attach_one(const ImageToMount& image) {
        attachments_.push_back(image.plan ? attach_for_the_moment(*image.plan, image.attach, kernel_, notes_)
                                          : attach_partitions(attached(image), image.logical_sector_size,
                                                              image.attach, kernel_, notes_));
    }

    // Partitions and volumes that nothing was mounted from go a moment after they were left; where no udevd
    // runs, their nodes stay.
    void wait_for_unused() {
        const auto is_going = [this](const DmInfo& device) {
            const std::optional<OwnUuid> own = parse_own_uuid(device.uuid);
            const std::string id = own ? own->id : parse_logical_volume_uuid(device.uuid).value_or("");
            return device.deferred_remove && device.open_count == 0 &&
                   std::any_of(images_.begin(), images_.end(),
                               [&id](const ImageToMount& image) { return image.id == id; });
        };
        for (unsigned waited_ms = 0; waited_ms < patience_ms; waited_ms += pause_between_looks_ms) {
            const std::vector<DmInfo> devices = kernel_.list_devices();
            if (std::none_of(devices.begin(), devices.end(), is_going)) break;
            kernel_.pause_ms(pause_between_looks_ms);
        }
        for (const Attachment& attachment : attachments_)
            kernel_.refresh_nodes(std::filesystem::path(attachment.result().disk_path).filename().string());
    }

    AttachedDisk attached(const ImageToMount& image) {
        for (AttachedDisk& disk : list_attached(kernel_))
            if (disk.id == image.id) return std::move(disk);
        throw Error(ErrorKind::not_found, "it has just been detached");
    }

    // Everything on the disks of the command that is not up yet: a VG may lie on several of them.
    void bring_up(bool may_ask) {
        std::vector<AttachedDisk> disks;
        for (const ImageToMount& image : images_) disks.push_back(attached(image));
        ActivateOptions activate_options;
        activate_options.keys = options_.keys;
        if (!may_ask) activate_options.keys.ask = nullptr;
        activate_options.skip_locked = !may_ask;
        activations_.push_back(activate(disks, activate_options, kernel_, notes_));
    }

    // What is wanted may lie in LVM, an array or an encrypted container; then everything closed is brought
    // up. Nobody is asked for a key unless nothing is found without.
    Volume survey_deep_enough(const ImageToMount& image, const std::string& wanted) {
        Volume disk = survey(attached(image), kernel_);
        for (const bool may_ask : {false, true}) {
            if (!has_closed_container(disk)) break;
            const Outcome outcome = look_for(disk, wanted, image.as_given);
            // The only file system so far need not be the only one.
            const bool is_enough =
                may_ask ? outcome != Outcome::nothing && !leads_to_closed_container(disk, wanted)
                        : outcome == Outcome::found && !wanted.empty();
            if (is_enough) break;
            bring_up(may_ask);
            disk = survey(attached(image), kernel_);
        }
        return disk;
    }

    void mount_all() {
        MountedSoFar mounted;
        for (const MountRequest& request : requests_) {
            kernel_.throw_if_interrupted();
            const ImageToMount& image = images_[request.image];
            const std::string wanted =
                concat(image.as_given, request.volume.empty() ? "" : ":", request.volume);
            with_context(concat("cannot mount '", wanted, "'"), [&] { mount_one(image, request, mounted); });
        }
        kernel_.throw_if_interrupted();
        mounted.keep();
    }

    void mount_one(const ImageToMount& image, const MountRequest& request, MountedSoFar& mounted) {
        const Volume disk = survey_deep_enough(image, request.volume);
        const Volume& volume = choose_file_system(disk, request.volume, image.as_given);
        if (options_.wishes.writable && volume.read_only)
            throw Error(ErrorKind::refused, concat(volume.path, " is attached read-only"));
        MountedFileSystem file_system;
        file_system.volume = called(image, volume);
        file_system.device = volume.path;
        file_system.type = volume.content->type;
        file_system.directory = resolve_mount_point(request.directory, mounted.directories());
        file_system.unclean = unclean_mark_on(volume);
        guard_.about_to_mount(volume.device);
        mount_volume(image, volume, file_system);
        mounted.add(file_system.directory);
        report_state(file_system);
        result_.push_back(std::move(file_system));
    }

    // A read-only device refuses a mount that would have to replay a journal: that tells whether there is
    // something to replay, and nothing is written in either case.
    void mount_volume(const ImageToMount& image, const Volume& volume, MountedFileSystem& file_system) {
        const FileSystemRules rules = rules_of_driver(options_.type.value_or(file_system.type));
        file_system.driver = rules.drivers.front();
        const bool may_replay = volume.read_only || image.on_overlay || options_.wishes.writable;
        MountCall call{volume.path, file_system.driver, mount_options(rules, options_.wishes, !may_replay),
                       file_system.directory};
        MountOutcome outcome = mount_device(call);
        if (outcome.error != 0 && outcome.error == rules.needs_replay && volume.read_only) {
            call.options = mount_options(rules, options_.wishes, true);
            outcome = mount_device(call);
            if (outcome.error == 0) file_system.unclean = "its journal was not replayed";
        }
        if (outcome.error != 0) report_failure(call, outcome);
        file_system.options = call.options;
    }

    void report_state(MountedFileSystem& file_system) {
        if (file_system.type == "ntfs" && holds_hibernated_windows(file_system.directory))
            file_system.unclean = "its Windows is hibernated, or half shut down (fast startup)";
        if (file_system.unclean.empty()) return;
        notes_.push_back(concat("'", file_system.volume, "' (", file_system.type,
                                ") was not cleanly unmounted: ", file_system.unclean,
                                "; the newest changes may be missing (see --scratch)"));
    }

    const std::vector<ImageToMount>& images_;
    const std::vector<MountRequest>& requests_;
    const MountOptions& options_;
    const MountGuard& guard_;
    Kernel& kernel_;
    std::vector<std::string>& notes_;
    std::vector<Attachment> attachments_;
    std::vector<Activation> activations_;  // on those, so they go first
    std::vector<MountedFileSystem> result_;
};

}  // namespace

void check_directories(const std::vector<MountRequest>& requests, Kernel& kernel) {
    const std::vector<OurMount> ours = list_our_mounts(list_attached(kernel), kernel);
    std::vector<std::string> seen;
    for (const MountRequest& request : requests) {
        const std::string path = std::filesystem::weakly_canonical(request.directory).string();
        if (std::find(seen.begin(), seen.end(), path) != seen.end())
            throw Error(ErrorKind::usage, concat("'", request.directory, "' is named twice"));
        for (const OurMount& mount : ours)
            if (mount.directory == path)
                throw Error(ErrorKind::busy, concat("on '", request.directory, "' ", mount.source,
                                                    " is mounted already (see vmdk-dm umount)"));
        const bool is_inside =
            std::any_of(seen.begin(), seen.end(), [&](const std::string& one) { return lies_in(path, one); });
        if (!is_inside) resolve_mount_point(request.directory, {});
        seen.push_back(path);
    }
}

std::vector<MountedFileSystem> mount_file_systems(const std::vector<ImageToMount>& images,
                                                  const std::vector<MountRequest>& requests,
                                                  const MountOptions& options, const MountGuard& guard,
                                                  Kernel& kernel, std::vector<std::string>& notes) {
    return Mounter(images, requests, options, guard, kernel, notes).run();
}

}  // namespace vmdkdm
