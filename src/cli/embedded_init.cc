// vmdk-dm embedded-init: process 1 of the embedded kernel that shell, run and copy-out start. Attaches and
// mounts as a user would, by the same commands. Not for people, hence not in --help.
#include <unistd.h>

#include <fstream>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "embedded/guest.h"
#include "embedded/send_tree.h"

namespace vmdkdm {
namespace {

using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

// One of our commands, in a child process: starting a program anew takes a while in here.
int run_own(const Guest& guest, Words words, std::string* output = nullptr) {
    words.insert(words.begin(), "vmdk-dm");
    return guest.run(
        [&words] {
            std::vector<char*> pointers;
            for (std::string& word : words) pointers.push_back(word.data());
            const int status = run_command_line(static_cast<int>(pointers.size()), pointers.data());
            out().flush();
            return status;
        },
        output);
}

int attach(const Guest& guest) {
    const Job& job = guest.job();
    std::string paths;
    return run_own(guest,
                   Words{"attach", "--no-udev", "--progress", "none"} + job.image_options +
                       job.attach_options + Words{job.image},
                   &paths);
}

// Where the file system of a volume is mounted below the image's directory, and how mount calls it.
struct Wanted {
    std::string selector;
    std::string directory;
};

void find_file_systems(const Json& volume, std::vector<Wanted>& found) {
    for (const Json& child : volume.at("children")) find_file_systems(child, found);
    if (!volume.at("children").empty() || volume.at("usage") != "filesystem") return;
    if (volume.at("kind") == "disk")
        found.push_back({"", "disk"});
    else if (volume.at("number").is_number())
        found.push_back({volume.at("number").dump(), volume.at("number").dump()});
    else
        found.push_back({volume.at("name"), volume.at("name")});
}

int mount(const Guest& guest, const std::string& selector, const std::string& directory) {
    const Job& job = guest.job();
    make_directories(directory);
    std::string said;
    return run_own(guest,
                   Words{"mount", "--no-udev", "--progress", "none"} + job.image_options + job.key_options +
                       Words{selector.empty() ? job.image : concat(job.image, ":", selector), directory},
                   &said);
}

// What cannot be mounted is said by mount itself, and the rest is there all the same.
std::size_t mount_all(const Guest& guest) {
    const Job& job = guest.job();
    std::string text;
    make_directories(mount_directory(job));
    if (run_own(guest, Words{"filesystems", "--no-udev", "--json"} + job.key_options + Words{job.name},
                &text) != 0)
        return 0;
    std::vector<Wanted> found;
    find_file_systems(Json::parse(text), found);
    std::size_t mounted = 0;
    for (const Wanted& wanted : found)
        if (mount(guest, wanted.selector, concat(mount_directory(job), "/", wanted.directory)) == 0)
            ++mounted;
    return mounted;
}

void greet(const Job& job, std::size_t mounted) {
    out()
        << "The disk is /dev/mapper/" << job.name << ", read-only, in a kernel of its own; "
        << counted(mounted, "file system") << " below " << mount_directory(job) << ".\n"
        << "Nothing else of this machine can be reached but what --dir shows. The shell's end ends it all.\n";
    out().flush();
}

int run_command(const Guest& guest, std::size_t mounted) {
    const Job& job = guest.job();
    return guest.run_command([&] {
        [[maybe_unused]] const int ignored = ::chdir(mount_directory(job).c_str());
        if (!job.command.empty()) return execute(job.command, job.environment);
        if (!job.terminal) return execute({"bash", "--noprofile", "--norc"}, job.environment);
        greet(job, mounted);
        const Words prompt{concat("PS1=[", job.name, ", read-only] \\w \\$ ")};
        return execute({"bash", "--noprofile", "--norc", "-i"}, job.environment + prompt);
    });
}

int copy(const Guest& guest) {
    const CopyRequest& request = *guest.job().copy;
    const std::string directory = concat(mount_directory(guest.job()), "/volume");
    if (const int status = mount(guest, request.volume, directory); status != 0) return status;
    return guest.run_sender([&] {
        try {
            send_tree(directory, request.path, STDOUT_FILENO);
            return 0;
        } catch (const Error& error) {
            print_error(error);
            return static_cast<int>(error.kind());
        }
    });
}

// As long as there are no lines, the kernel's own messages are the only place to say anything.
Guest made_guest() {
    try {
        return Guest();
    } catch (const Error& error) {
        std::ofstream("/dev/kmsg") << "vmdk-dm: " << escaped(error.what()) << std::endl;
        throw;
    }
}

void run() {
    if (::getpid() != 1)
        throw Error(ErrorKind::usage, "embedded-init is process 1 of an embedded kernel, and nothing else");
    const Guest guest = made_guest();
    int status = 0;
    if (guest.job().copy) {
        status = copy(guest);
    } else {
        status = attach(guest);
        if (status == 0) status = run_command(guest, mount_all(guest));
    }
    guest.end(status);
}

}  // namespace

void add_embedded_init_command(Command& app) {
    Command command = app.add_command("embedded-init", "Process 1 of an embedded kernel");
    command.hide();
    command.allow_unknown_words();  // the kernel adds words of its own
    command.on_run(run);
}

}  // namespace vmdkdm
