// vmdk-dm mount: file systems of images, in one command.
#include "mount/mount.h"
#include "cli/printer.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <deque>
#include <list>
#include <memory>

#include "attach/attached.h"
#include "attach/guard.h"
#include "attach/in_place.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/key_options.h"
#include "cli/output.h"
#include "cli/overlay_options.h"
#include "cli/preparation.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"
#include "mount/source.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

struct MountCommandOptions {
    std::vector<std::string> words;  // IMAGE[:VOLUME] DIR ...
    ImageOptions image;
    PlanShapeOptions shape;
    OverlayOptions overlay;
    KeyOptions keys;
    bool writable = false;
    std::vector<std::string> options;
    std::optional<std::string> type;
    std::optional<std::string> owner;
    std::optional<std::string> mode;
    PreparationOptions preparation;
    bool no_udev = false;
    bool json = false;
};

std::uint64_t number_of(const std::string& text, int base, const std::string& refusal) {
    std::size_t end = 0;
    try {
        const std::uint64_t number = std::stoul(text, &end, base);
        if (end == text.size() && text.front() != '-') return number;
    } catch (const std::exception&) {
        end = 0;
    }
    throw Error(ErrorKind::usage, refusal);
}

uid_t user_of(const std::string& name) {
    if (const passwd* user = ::getpwnam(name.c_str())) return user->pw_uid;
    return static_cast<uid_t>(number_of(name, 10, concat("--owner: there is no user '", name, "'")));
}

gid_t group_of(const std::string& name) {
    if (const group* found = ::getgrnam(name.c_str())) return found->gr_gid;
    return static_cast<gid_t>(number_of(name, 10, concat("--owner: there is no group '", name, "'")));
}

Owner parse_owner(const std::string& text) {
    const std::size_t colon = text.find(':');
    Owner owner{user_of(text.substr(0, colon)), std::nullopt};
    if (colon != std::string::npos) owner.group = group_of(text.substr(colon + 1));
    return owner;
}

unsigned parse_mode(const std::string& text) {
    const std::string refusal = concat("--mode '", text, "' is not a mode such as 640");
    const std::uint64_t mode = number_of(text, 8, refusal);
    if (mode > 0777) throw Error(ErrorKind::usage, refusal);
    return static_cast<unsigned>(mode);
}

MountOptions mount_options_of(const MountCommandOptions& options) {
    MountOptions mount;
    mount.type = options.type;
    mount.keys = keys_of(options.keys, true);
    mount.wishes.writable = options.writable;
    for (const std::string& more : options.options)
        mount.wishes.options += concat(mount.wishes.options.empty() ? "" : ",", more);
    if (options.owner) mount.wishes.owner = parse_owner(*options.owner);
    if (options.mode) mount.wishes.mode = parse_mode(*options.mode);
    check_user_options(mount.wishes);
    return mount;
}

bool wants_overlay(const MountCommandOptions& options) {
    return options.overlay.file || options.overlay.scratch;
}

void check_in_place_wish(const MountCommandOptions& options) {
    if (options.shape.in_place && !options.writable)
        throw Error(
            ErrorKind::usage,
            "--in-place needs --rw: even a read-only mount would write a journal back into the image");
}

void check_writing(const MountCommandOptions& options, bool on_overlay) {
    if (options.writable && !options.shape.in_place && !on_overlay)
        throw Error(
            ErrorKind::usage,
            "--rw needs --scratch (writes are lost at umount), --overlay FILE (they are kept there) or "
            "--in-place (they go into the image)");
}

AttachOptions attach_options_of(const MountCommandOptions& options, const OpenImage& opened) {
    AttachOptions attach;
    attach.run_dir = options.preparation.run_dir;
    attach.image_path = opened.image().file->path();
    return attach;
}

// After the image, or NAME-2 and so on when that is taken: who mounts need not know the name.
std::string free_name(const std::string& wanted, const std::vector<std::string>& taken) {
    std::string name = wanted;
    for (unsigned number = 2; std::find(taken.begin(), taken.end(), name) != taken.end(); ++number)
        name = concat(wanted, "-", number);
    return name;
}

Plan plan_to_mount(const MountCommandOptions& options, OpenImage& opened,
                   const std::optional<ChosenOverlay>& overlay, std::vector<std::string>& taken) {
    const std::optional<OverlayPlan> over = overlay ? std::optional(overlay->plan()) : std::nullopt;
    PlanShapeOptions shape = options.shape;
    if (!shape.name) shape.name = free_name(default_name(opened.image().path), taken);
    taken.push_back(*shape.name);
    return feasible_plan(options.preparation, shape, over, opened);
}

// What stands on the command line, and what became of it.
class MountCommand {
  public:
    MountCommand(const MountCommandOptions& options, Kernel& kernel) : options_(options), kernel_(kernel) {
        for (const DmInfo& device : kernel.list_devices()) taken_names_.push_back(device.name);
        attached_ = list_attached(kernel);
        for (std::size_t i = 0; i < options.words.size(); i += 2) {
            const MountSource source = parse_mount_source(options.words[i]);
            requests_.push_back({image_index(source.image), source.volume, options.words[i + 1]});
        }
        if (options.shape.name && images_.size() > 1)
            throw Error(ErrorKind::usage, "--name goes with one image only");
        if (options.overlay.file && images_.size() > 1)
            throw Error(ErrorKind::usage, "--overlay goes with one image only (--scratch with any number)");
    }

    // All of them before anything is attached, so that none inherits a device that is held.
    void guard(std::list<AttachGuard>& guards) {
        for (std::size_t i = 0; i < images_.size(); ++i)
            if (images_[i].plan)
                guards.emplace_back(kernel_, images_[i].id, images_[i].plan->disk.name, [this, i] {
                    if (overlays_[i]) overlays_[i]->remove_made();
                });
    }

    void keep_overlays() {
        for (std::optional<ChosenOverlay>& overlay : overlays_)
            if (overlay) overlay->keep();
    }

    const std::vector<MountRequest>& requests() const { return requests_; }
    const std::vector<ImageToMount>& images() const { return images_; }
    std::vector<std::string>& notes() { return notes_; }

  private:
    std::size_t image_index(const std::string& path) {
        ImageOptions image_options = options_.image;
        image_options.image = path;
        OpenImage opened = open_image(image_options);
        const std::string id = image_id(opened.image().file->identity());
        for (std::size_t i = 0; i < images_.size(); ++i)
            if (images_[i].id == id) return i;
        images_.push_back(
            with_context(concat("cannot mount '", path, "'"), [&] { return to_mount(path, id, opened); }));
        notes_.insert(notes_.end(), opened.notes.begin(), opened.notes.end());
        return images_.size() - 1;
    }

    ImageToMount to_mount(const std::string& path, const std::string& id, OpenImage& opened) {
        ImageToMount image;
        image.as_given = path;
        image.id = id;
        image.attach = attach_options_of(options_, opened);
        const auto attached = std::find_if(attached_.begin(), attached_.end(),
                                           [&id](const AttachedDisk& disk) { return disk.id == id; });
        if (attached != attached_.end()) {
            use_attached(*attached, image, opened);
            return image;
        }
        check_writing(options_, wants_overlay(options_));
        if (!options_.image.allow_damaged) refuse_damage(opened);
        std::optional<ChosenOverlay>& overlay =
            overlays_.emplace_back(ChosenOverlay::open(options_.overlay, opened));
        image.on_overlay = overlay.has_value();
        copy_first(options_.preparation, options_.shape, {options_.image.allow_damaged}, opened);
        image.plan = plan_to_mount(options_, opened, overlay, taken_names_);
        if (options_.shape.in_place) check_in_place(opened.image(), *image.plan, kernel_, opened.notes);
        return image;
    }

    void use_attached(const AttachedDisk& disk, ImageToMount& image, OpenImage& opened) {
        if (wants_overlay(options_))
            throw Error(ErrorKind::busy,
                        concat("it is attached already, as ", kernel_.device_path(disk.device.name),
                               ": an overlay comes too late (detach it first)"));
        overlays_.emplace_back(std::nullopt);
        image.on_overlay = disk.overlay.has_value();
        image.logical_sector_size = sector_size_for(opened, options_.shape.sector_size);
        check_writing(options_, image.on_overlay);
    }

    const MountCommandOptions& options_;
    Kernel& kernel_;
    std::vector<std::string> taken_names_;
    std::vector<AttachedDisk> attached_;
    std::vector<MountRequest> requests_;
    std::vector<ImageToMount> images_;
    std::deque<std::optional<ChosenOverlay>> overlays_;  // one for each image
    std::vector<std::string> notes_;
};

void print_as_json(const std::vector<MountedFileSystem>& mounted) {
    Json list = Json::array();
    for (const MountedFileSystem& one : mounted)
        list.push_back({{"volume", one.volume},
                        {"device", one.device},
                        {"type", one.type},
                        {"driver", one.driver},
                        {"options", one.options},
                        {"directory", one.directory},
                        {"unclean", one.unclean.empty() ? Json(nullptr) : Json(one.unclean)}});
    print_json(list);
}

void print_as_text(const std::vector<MountedFileSystem>& mounted) {
    for (const MountedFileSystem& one : mounted)
        out() << one.device << " on " << one.directory << " (" << one.type << ", " << one.options << ")\n";
}

void run(const MountCommandOptions& options) {
    if (options.words.size() % 2 != 0)
        throw Error(ErrorKind::usage,
                    concat("'", options.words.back(), "' has no directory to be mounted on"));
    check_in_place_wish(options);
    const MountOptions mount_options = mount_options_of(options);
    LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
    const SignalDelay delay;
    MountCommand command(options, kernel);
    check_directories(command.requests(), kernel);

    const MountGuard mount_guard;
    std::list<AttachGuard> attach_guards;
    command.guard(attach_guards);
    const std::vector<MountedFileSystem> mounted = mount_file_systems(
        command.images(), command.requests(), mount_options, mount_guard, kernel, command.notes());
    command.keep_overlays();
    print_notes(command.notes());
    options.json ? print_as_json(mounted) : print_as_text(mounted);
    out().flush();
    delay.discard();
}

}  // namespace

void add_mount_command(Command& app) {
    Command command = app.add_command("mount", "Mount file systems of images, read-only by default");
    const auto options = std::make_shared<MountCommandOptions>();
    command
        .add_argument(
            "IMAGE[:VOLUME] DIR", options->words,
            "What is mounted where, as often as needed. VOLUME is a partition's number, VG/LV, LABEL=... "
            "or UUID=...; without it the image's only file system")
        .required();
    add_opening_options(command, options->image);
    add_reading_options(command, options->image);
    add_plan_options(command, options->shape);
    add_overlay_options(command, options->overlay);
    add_key_options(command, options->keys);
    command.add_flag("--rw", options->writable, "Writable; with --scratch, --overlay or --in-place");
    command.add_option("-o,--options", options->options, "OPTIONS",
                       "Options as in mount -o, besides the safe ones");
    command.add_option("-t,--type", options->type, "TYPE",
                       "The driver, instead of the one for what is found");
    command.add_option("--owner", options->owner, "USER",
                       "USER or USER:GROUP whose the files are to be, where the file system knows no owners");
    command.add_option("--mode", options->mode, "MODE", "Permissions of the files, such as 640, likewise");
    add_preparation_options(command, options->preparation);
    command.add_flag("--no-udev", options->no_udev,
                     "Do not wait for udev; make the nodes in /dev/mapper directly");
    command.add_flag("--json", options->json, "Print a JSON array of what was mounted");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
