// vmdk-dm tab: looks after vmdktab(5). check says what is wrong with it, add writes a line.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/device_entry.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "cli/tab.h"
#include "cli/tab_findings.h"
#include "compact/output_file.h"
#include "tab/tab.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

void add_table_file(Command& command, std::string& file) {
    command.add_option("--table-file", file, "FILE", "The table (default: /etc/vmdktab)");
}

// check -----------------------------------------------------------------------------------------------------

struct CheckOptions {
    std::string table_file = default_tab_file;
    bool json = false;
};

Json as_json(const std::vector<TabFinding>& findings) {
    Json list = Json::array();
    for (const TabFinding& finding : findings)
        list.push_back({{"line", finding.line}, {"text", finding.text}});
    return list;
}

void check(const CheckOptions& options) {
    const Tab tab = read_tab(options.table_file);
    const TabFindings findings = check_tab(tab);
    if (options.json) {
        print_json({{"table", options.table_file},
                    {"sound", findings.faults.empty()},
                    {"entries", tab.entries.size()},
                    {"faults", as_json(findings.faults)},
                    {"notes", as_json(findings.notes)}});
    } else {
        for (const TabFinding& note : findings.notes) (err() << "vmdk-dm: note: ").lines(note.text) << "\n";
        for (const TabFinding& fault : findings.faults) out().lines(fault.text) << "\n";
        out() << options.table_file << ": "
              << (findings.faults.empty() ? "sound" : counted(findings.faults.size(), "fault")) << " ("
              << tab.entries.size() << (tab.entries.size() == 1 ? " entry" : " entries") << ")\n";
    }
    if (!findings.faults.empty()) throw ExitStatus{static_cast<int>(ErrorKind::format)};
}

// add -------------------------------------------------------------------------------------------------------

struct AddOptions {
    std::string image;
    std::string name;
    std::string options;
    std::string table_file = default_tab_file;
    bool by_uuid = false;
};

constexpr std::string_view first_line = "# NAME IMAGE [OPTIONS], see vmdktab(5)\n";
constexpr mode_t usual_mode = 0644;

// One at a time changes it. The table itself is replaced, so its directory is what is locked.
UniqueFd locked_directory(const std::string& file) {
    const std::string directory = fs::path(file).parent_path().string();
    UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd || (::flock(fd.get(), LOCK_EX) != 0 && errno != EOPNOTSUPP))
        throw system_error(concat("cannot lock '", directory, "'"), errno);
    return fd;
}

std::string text_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    if (in && in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
    return text.str();
}

void write_all(const OutputFile& file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(file.fd(), text.data(), text.size());
        if (count < 0 && errno != EINTR)
            throw system_error(concat("cannot write '", file.path(), "'"), errno);
        if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
    }
}

// Whole or not at all, with the mode and the owner that it had.
void replace_table(const std::string& path, const std::string& text) {
    OutputFile file(path, Bytes(0), /*replace=*/true, usual_mode);
    write_all(file, text);
    struct stat old = {};
    if (::stat(path.c_str(), &old) == 0) {
        // Somebody else's file that we may write becomes ours.
        if (::fchown(file.fd(), old.st_uid, old.st_gid) != 0 && errno != EPERM)
            throw system_error(concat("cannot give '", path, "' its owner"), errno);
        if (::fchmod(file.fd(), old.st_mode & 07777) != 0)
            throw system_error(concat("cannot give '", path, "' its mode"), errno);
    }
    file.publish(/*sync=*/true);
}

// The entry as the boot will read it; throws what is wrong with it, in the new line's place.
const TabEntry& checked(const Tab& tab, const std::string& name, std::size_t line) {
    for (const TabFault& fault : tab.faults)
        if (fault.line == line) throw fault.error;
    const TabEntry* const entry = tab.find(name);
    if (entry == nullptr || entry->line != line)
        throw Error(ErrorKind::system, concat("the line for '", name, "' does not read back"));
    const TabFindings findings = check_tab_entry(tab, *entry);
    for (const TabFinding& note : findings.notes) (err() << "vmdk-dm: note: ").lines(note.text) << "\n";
    if (!findings.faults.empty()) throw TextError(findings.faults.front().text);
    return *entry;
}

void add(const AddOptions& options) {
    TabEntry entry =
        entry_for_image(options.image, options.name, parse_tab_options(options.options, "--options"));
    if (options.by_uuid) entry = as_device_entry(entry);
    const std::string file = fs::weakly_canonical(fs::absolute(options.table_file)).string();
    const UniqueFd lock = locked_directory(file);
    std::string text = fs::exists(file) ? text_of(file) : std::string(first_line);
    const Tab before = parse_tab(text, options.table_file);
    if (const TabEntry* const other = before.find(entry.name))
        throw Error(ErrorKind::busy, concat("the name '", entry.name, "' is taken by line ", other->line,
                                            " of '", options.table_file, "' (choose another with --name)"));
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    const std::size_t line = 1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
    const std::string written = print_tab_line(entry);
    text += concat(written, "\n");
    const Tab tab = parse_tab(text, options.table_file);
    const bool is_early = checked(tab, entry.name, line).has("x-initrd.attach");
    replace_table(file, text);
    out() << written << "\n";
    if (options.table_file != default_tab_file) return;
    if (is_early)
        print_notes(
            {"the initramfs has a table of its own: make it anew (dracut --force, update-initramfs -u)"});
    if (fs::exists("/run/systemd/system"))
        print_notes({"systemd reads the table at boot, and at: systemctl daemon-reload"});
}

}  // namespace

void add_tab_command(Command& app) {
    Command tab =
        app.add_command("tab", "Check vmdktab(5), the table of what is attached at boot, or add to it");
    tab.require_command();
    {
        Command command =
            tab.add_command("check", "List everything that is wrong with the table, by its lines");
        const auto options = std::make_shared<CheckOptions>();
        add_table_file(command, options->table_file);
        command.add_flag("--json", options->json, "Print one JSON object");
        command.on_run([options] { check(*options); });
    }
    {
        Command command = tab.add_command("add", "Append a line for an image; print it");
        const auto options = std::make_shared<AddOptions>();
        command.add_argument("IMAGE", options->image, "The image: its descriptor, such as web.vmdk")
            .required();
        command.add_option("--name", options->name, "NAME",
                           "Name of the device (default: the image's name without .vmdk)");
        command.add_option("-o,--options", options->options, "OPTIONS",
                           "Options as in vmdktab(5), separated by commas");
        command.add_flag(
            "--by-uuid", options->by_uuid,
            "Name the image by the UUID of its file system, for a disk that is plugged in later");
        add_table_file(command, options->table_file);
        command.on_run(
            [options] { with_context(concat("cannot add '", options->image, "'"), [&] { add(*options); }); });
    }
    add_tab_initrd_command(tab);
}

}  // namespace vmdkdm
