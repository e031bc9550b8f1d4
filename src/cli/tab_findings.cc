#include "cli/tab_findings.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "cli/certificate.h"
#include "cli/table_entry.h"
#include "kernel/sysfs.h"
#include "mount/mount_point.h"
#include "mount/where_mounted.h"
#include "plan/names.h"
#include "tab/needs.h"
#include "tab/options.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// "file:line:column: ...", with the line and a caret.
std::string text_at(const TabEntry& entry, std::size_t offset, const std::string& message) {
    try {
        entry.fail(offset, message);
    } catch (const TextError& error) {
        return error.what();
    }
}

// A directory that exists on the way to the path.
std::string existing_part(const std::string& path) {
    std::error_code ignored;
    fs::path part = path;
    while (!fs::exists(part, ignored) && part.has_relative_path()) part = part.parent_path();
    return part.string();
}

// What an entry is made of, now.
class EntryCheck {
  public:
    EntryCheck(const TabEntry& entry, const std::vector<FstabMount>& fstab, TabFindings& findings)
        : entry_(entry), fstab_(fstab), findings_(findings) {}

    void run() {
        note_unknown_words();
        try {
            attach_options_of(entry_, "");
        } catch (const TextError& error) {
            findings_.faults.push_back({entry_.line, error.what()});
            return;
        }
        try {
            directory_ = device_directory_of(entry_);
        } catch (const Error& error) {
            return note(entry_.image_offset, concat(error.what(), "; so the image was not looked at"));
        }
        try {
            check_places();
        } catch (const Error& error) {
            return note(entry_.image_offset, concat("not looked at: ", error.what()));
        }
        if (!is_anything_missing_) check_image(attach_options_of(entry_, directory_));
    }

    /// Of the image, where it could be opened.
    const std::optional<FileIdentity>& image() const { return image_; }

  private:
    void fault(std::size_t offset, const std::string& message) {
        findings_.faults.push_back({entry_.line, text_at(entry_, offset, message)});
    }
    void note(std::size_t offset, const std::string& message) {
        findings_.notes.push_back({entry_.line, text_at(entry_, offset, message)});
    }

    void note_unknown_words() {
        for (const TabOption& option : entry_.options) {
            if (option.name.starts_with("x-systemd.") && !is_known_boot_word(option.name))
                note(option.offset, concat("'", option.name, "' is not known, and ignored"));
            if (option.name == "seal")
                note(option.offset,
                     "the certificate exists after the first boot, and attach then refuses to "
                     "replace it (see require-seal)");
        }
    }

    std::string local(const std::string& path) const { return local_path(entry_, path, directory_); }

    // Whatever is below a mount point of fstab that has nothing mounted on it now cannot be looked at.
    bool is_unmounted(const std::string& path) const {
        if (!entry_.image.device.empty()) return false;
        const FstabMount* const mount = fstab_mount_of(fstab_, path);
        std::error_code ignored;
        return mount != nullptr && mount->directory != "/" &&
               mount_of(existing_part(mount->directory)).directory != mount->directory;
    }

    void check_places() {
        check_place(entry_.image_offset, "the image", entry_.image.path, fs::file_type::regular);
        for (const TabOption& option : entry_.options) {
            if (!is_path_option(option.name) || !option.value) continue;
            const bool is_made =
                option.name == "overlay" || option.name == "seal" || option.name == "cache-dir";
            if (is_made)
                check_place(option.offset, concat("the directory of ", option.name),
                            fs::path(*option.value).parent_path().string(), fs::file_type::directory);
            else
                check_place(
                    option.offset, concat(option.name, "'s path"), *option.value,
                    option.name == "require-seal" ? fs::file_type::regular : fs::file_type::directory);
        }
    }

    void check_place(std::size_t offset, const std::string& what, const std::string& path,
                     fs::file_type type) {
        const std::string place = local(path);
        std::error_code error;
        const fs::file_status status = fs::status(place, error);
        const bool is_right =
            type == fs::file_type::directory ? status.type() == fs::file_type::directory : fs::exists(status);
        if (is_right && is_on_device(place)) return;
        is_anything_missing_ = true;
        if (is_right)
            fault(offset, concat(what, ", '", place, "', is not on the file system of ", entry_.image.device,
                                 ": a symlink or another mount leads elsewhere"));
        else if (status.type() == fs::file_type::not_found && is_unmounted(place))
            note(offset, concat(what, " was not looked at: '", fstab_mount_of(fstab_, place)->directory,
                                "' of fstab is not mounted now"));
        else if (fs::exists(status))
            fault(offset, concat(what, ", '", place, "', is no directory"));
        else if (status.type() == fs::file_type::not_found && entry_.nofail())
            note(offset, concat(what, ", '", place, "', does not exist now (nofail)"));
        else if (status.type() == fs::file_type::not_found)
            fault(offset, concat(what, ", '", place, "', does not exist"));
        else
            note(offset, concat(what, ", '", place, "', cannot be looked at: ", error.message()));
    }

    bool is_on_device(const std::string& place) const {
        return entry_.image.device.empty() || is_on_mount(place, directory_);
    }

    // All that attach does before it asks the kernel for anything.
    void check_image(AttachCommandOptions options) {
        std::size_t offset = entry_.image_offset;
        try {
            OpenImage opened = open_image(options.image);
            image_ = opened.image().file->identity();
            if (!options.image.allow_damaged) refuse_damage(opened);
            if (options.delimiter) check_delimiter(entry_.name, *options.delimiter);
            if (const TabOption* seal = entry_.find("require-seal")) {
                offset = seal->offset;
                read_certificate(*options.seal.require);
            }
            if (const TabOption* overlay = entry_.find("overlay")) offset = overlay->offset;
            const std::optional<ChosenOverlay> overlay = ChosenOverlay::foresee(options.overlay, opened);
            plan_for(opened, options.shape, overlay ? std::optional(overlay->plan()) : std::nullopt);
            check_mounts(opened);
        } catch (const TextError& error) {
            findings_.faults.push_back(
                {entry_.line,
                 concat(text_at(entry_, offset, "the image cannot be attached:"), "\n", error.what())});
        } catch (const Error& error) {
            // Somebody else than root may not read everything.
            const bool may_be_forbidden = error.kind() == ErrorKind::system && ::geteuid() != 0;
            if (may_be_forbidden)
                note(offset, concat("not looked at: ", error.what()));
            else
                fault(offset, error.what());
        }
    }

    // The boot mounts what the image lies on, and what the options name; of the rest it must be told.
    void check_mounts(const OpenImage& opened) {
        std::set<std::string> mounted = {"/", mount_of(opened.image().file->path()).directory};
        std::vector<std::string> known = entry_.values("x-systemd.requires-mounts-for");
        for (const std::string& path : entry_.option_paths()) known.push_back(local(path));
        for (const std::string& path : known) mounted.insert(mount_of(existing_part(path)).directory);
        for (const FilePtr& file : opened.files) {
            if (file->kind() != FileKind::regular) continue;
            const std::string directory = mount_of(file->path()).directory;
            if (mounted.insert(directory).second)
                note(entry_.image_offset,
                     concat("'", file->path(),
                            "' is a part of it and lies on another file system: add x-systemd."
                            "requires-mounts-for=",
                            directory, " to the options"));
        }
    }

    const TabEntry& entry_;
    const std::vector<FstabMount>& fstab_;
    TabFindings& findings_;
    std::string directory_;
    bool is_anything_missing_ = false;
    std::optional<FileIdentity> image_;
};

// Names of the disks that a device lies on, over partitions, LVM and containers, as far as they are there
// now.
void add_disks_below(const std::string& sysfs_directory, std::set<std::string>& names) {
    constexpr std::string_view suffix = "-disk";
    const std::string uuid = sysfs_attribute(sysfs_directory + "/dm/uuid");
    if (uuid.starts_with(uuid_prefix) && uuid.ends_with(suffix))
        names.insert(sysfs_attribute(sysfs_directory + "/dm/name"));
    std::error_code ignored;
    for (const auto& slave : fs::directory_iterator(sysfs_directory + "/slaves", ignored))
        add_disks_below(slave.path().string(), names);
}

std::set<std::string> disks_below(const std::string& device) {
    std::set<std::string> names;
    struct stat status = {};
    try {
        if (::stat(find_device(device).c_str(), &status) == 0)
            add_disks_below(concat("/sys/dev/block/", major(status.st_rdev), ":", minor(status.st_rdev)),
                            names);
    } catch (const Error&) {
        // Not there now: its name may say enough.
    }
    return names;
}

// Who needs whom: images that lie in the disks of others.
class Needs {
  public:
    Needs(const Tab& tab, const std::vector<FstabMount>& fstab) : tab_(tab), fstab_(fstab) {
        for (std::size_t i = 0; i < tab.entries.size(); ++i) add_of(i);
    }

    const std::vector<TabNeed>& list() const { return list_; }

  private:
    void add_of(std::size_t index) {
        const TabEntry& entry = tab_.entries[index];
        for (const std::string& unit : entry.values("x-systemd.requires"))
            add_unit(index, unit, "its options say so");
        std::vector<std::string> paths = entry.values("x-systemd.requires-mounts-for");
        if (!entry.image.device.empty()) {
            add_device(index, entry.image.device, concat("its image lies on ", entry.image.device));
        } else {
            paths.push_back(entry.image.path);
            for (const std::string& path : entry.option_paths()) paths.push_back(path);
        }
        for (const std::string& path : paths) {
            const FstabMount* const mount = fstab_mount_of(fstab_, path);
            if (mount == nullptr) continue;
            const std::string why = concat("'", path, "' lies on '", mount->directory,
                                           "', which fstab mounts from ", mount->source);
            add_device(index, mount->source, why);
            add_units_of(index, mount->options, why);
        }
    }

    void add_units_of(std::size_t index, const std::string& options, const std::string& why) {
        constexpr std::string_view prefix = "x-systemd.requires=";
        for (std::size_t at = 0; at < options.size();) {
            const std::size_t end = std::min(options.find(',', at), options.size());
            const std::string option = options.substr(at, end - at);
            if (option.starts_with(prefix)) add_unit(index, option.substr(prefix.size()), why);
            at = end + 1;
        }
    }

    void add_unit(std::size_t index, const std::string& unit, const std::string& why) {
        const auto name = entry_of_unit(unit);
        if (name)
            add(
                index, [&](const TabEntry& entry) { return entry.name == *name; }, why);
    }

    void add_device(std::size_t index, const std::string& device, const std::string& why) {
        const auto found = below_.try_emplace(device);
        if (found.second) found.first->second = disks_below(device);
        const std::set<std::string>& names = found.first->second;
        add(
            index,
            [&](const TabEntry& entry) { return is_device_of(device, entry) || names.count(entry.name) > 0; },
            why);
    }

    template <class IsNeeded>
    void add(std::size_t index, IsNeeded&& is_needed, const std::string& why) {
        for (std::size_t i = 0; i < tab_.entries.size(); ++i)
            if (is_needed(tab_.entries[i])) list_.push_back({index, i, why});
    }

    const Tab& tab_;
    const std::vector<FstabMount>& fstab_;
    std::map<std::string, std::set<std::string>> below_;
    std::vector<TabNeed> list_;
};

// With `only` those that it is a part of, at its place; else each at that of its first entry.
void add_cycles(const Tab& tab, const std::vector<FstabMount>& fstab, const TabEntry* only,
                TabFindings& findings) {
    for (const std::vector<TabNeed>& cycle : find_cycles(tab.entries.size(), Needs(tab, fstab).list())) {
        const TabEntry* at = only == nullptr ? &tab.entries[cycle.front().entry] : nullptr;
        std::string message;
        for (const TabNeed& need : cycle) {
            const TabEntry& entry = tab.entries[need.entry];
            append_parts(message, message.empty() ? "" : "; ", "'", entry.name, "' needs '",
                         tab.entries[need.needed].name, "' (", need.why, ")");
            if (only != nullptr && entry.line == only->line) at = only;
        }
        if (at != nullptr)
            findings.faults.push_back(
                {at->line, text_at(*at, at->image_offset,
                                   concat("a cycle, of which nothing can be attached first: ", message))});
    }
}

class TableCheck {
  public:
    explicit TableCheck(const Tab& tab) : tab_(tab), fstab_(fstab_mounts()) {}

    TabFindings all() {
        for (const TabFault& fault : tab_.faults)
            findings_.faults.push_back({fault.line, fault.error.what()});
        for (const TabEntry& entry : tab_.entries) check(entry);
        add_cycles(tab_, fstab_, nullptr, findings_);
        findings_.sort();
        return std::move(findings_);
    }

    TabFindings only(const TabEntry& wanted) {
        EntryCheck(wanted, fstab_, findings_).run();
        add_cycles(tab_, fstab_, &wanted, findings_);
        return std::move(findings_);
    }

  private:
    void check(const TabEntry& entry) {
        EntryCheck check(entry, fstab_, findings_);
        check.run();
        if (!check.image() || entry.noauto()) return;
        const auto [other, is_first] = images_.try_emplace(*check.image(), entry.line);
        if (!is_first)
            findings_.faults.push_back(
                {entry.line, text_at(entry, entry.image_offset,
                                     concat("the image is that of line ", other->second,
                                            " too, and is attached only once (one of them may be noauto)"))});
    }

    const Tab& tab_;
    std::vector<FstabMount> fstab_;
    std::map<FileIdentity, std::size_t> images_;
    TabFindings findings_;
};

}  // namespace

void TabFindings::sort() {
    const auto by_line = [](const TabFinding& a, const TabFinding& b) { return a.line < b.line; };
    std::stable_sort(faults.begin(), faults.end(), by_line);
    std::stable_sort(notes.begin(), notes.end(), by_line);
}

TabFindings check_tab(const Tab& tab) { return TableCheck(tab).all(); }

TabFindings check_tab_entry(const Tab& tab, const TabEntry& entry) { return TableCheck(tab).only(entry); }

}  // namespace vmdkdm
