#include "cli/embedded_options.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "cli/output.h"
#include "cli/size_option.h"
#include "confine/machine_filter.h"
#include "kernel/run_tool.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// Above the descriptors that the embedded kernel's process gets.
constexpr int first_held_fd = 16;

UniqueFd held_above(int descriptor) {
    UniqueFd held(::fcntl(descriptor, F_DUPFD_CLOEXEC, first_held_fd));
    if (!held) throw system_error("dup", errno);
    return held;
}

std::string canonical(const std::string& path) {
    std::error_code error;
    const fs::path found = fs::canonical(path, error);
    if (error) throw system_error(concat("'", path, "'"), error.value());
    return found.string();
}

std::string absolute(const std::string& path) { return fs::absolute(path).lexically_normal().string(); }

bool lies_below(const std::string& path, const std::string& directory) {
    return path == directory || path.starts_with(concat(directory, "/"));
}

void add_option(std::vector<std::string>& words, const char* option, const std::string& value) {
    words.insert(words.end(), {option, value});
}

// The options of image opening, as the embedded vmdk-dm gets them.
std::vector<std::string> image_words(const ImageOptions& image) {
    std::vector<std::string> words;
    for (const std::string& directory : image.open.allow_paths)
        add_option(words, "--allow-path", absolute(directory));
    for (const std::string& directory : image.chain.search_dirs)
        add_option(words, "--search-dir", absolute(directory));
    if (image.chain.layer != 0) add_option(words, "--layer", std::to_string(image.chain.layer));
    if (image.chain.read.allow_short) words.emplace_back("--allow-short");
    if (image.chain.ignore_cid) words.emplace_back("--ignore-cid");
    if (image.chain.read.use_redundant) words.emplace_back("--use-redundant");
    if (image.allow_damaged) words.emplace_back("--allow-damaged");
    return words;
}

// A path that the user wrote is the same inside, even if it goes through symbolic links.
class Spellings {
  public:
    explicit Spellings(Sandbox& sandbox) : sandbox_(sandbox) {}
    void add(const std::string& path, bool is_directory) {
        const std::string spelling = absolute(path);
        const fs::path parent = fs::path(spelling).parent_path();
        if (!is_directory && canonical(parent) != parent)
            link(parent, canonical(parent));
        else if (canonical(spelling) != spelling)
            link(spelling, canonical(spelling));
    }

  private:
    void link(const std::string& path, const std::string& target) {
        if (added_.insert(path).second) sandbox_.links.emplace_back(path, target);
    }
    Sandbox& sandbox_;
    std::set<std::string> added_;
};

void refuse_directory(const std::string& option, const std::string& given, const std::string& path) {
    for (const char* never : {"/proc", "/sys", "/dev", "/.vmdk-dm"})
        if (path == "/" || lies_below(path, never))
            throw Error(ErrorKind::refused,
                        concat(option, " '", given, "': the embedded kernel has its own '", path, "'"));
    if (!fs::is_directory(path))
        throw Error(ErrorKind::usage, concat(option, " '", given, "' is not a directory"));
}

UniqueFd memory_file(const std::string& content) {
    const UniqueFd file(::memfd_create("job", MFD_CLOEXEC));
    if (!file ||
        ::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        ::lseek(file.get(), 0, SEEK_SET) != 0)
        throw system_error("memfd", errno);
    return held_above(file.get());
}

UniqueFd our_program() {
    const UniqueFd program(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
    if (!program) throw system_error("cannot open /proc/self/exe", errno);
    return held_above(program.get());
}

// Since bubblewrap 0.8. It writes to /proc/sys, which is read-only in many containers; the filter refuses
// user namespaces all the same.
bool may_disable_userns() {
    struct statvfs facts = {};
    if (::statvfs("/proc/sys/user/max_user_namespaces", &facts) != 0 || (facts.f_flag & ST_RDONLY) != 0)
        return false;
    unsigned major = 0;
    unsigned minor = 0;
    try {
        ToolCall call;
        call.words = {"bwrap", "--version"};
        call.package = "bubblewrap";
        const std::string version = run_tool(call);
        if (std::sscanf(version.c_str(), "bubblewrap %u.%u", &major, &minor) != 2) return false;
    } catch (const Error&) {
        return false;  // whoever starts it in earnest will say why
    }
    return major > 0 || minor >= 8;
}

Bytes memory_of(const EmbeddedOptions& options) {
    const Bytes memory = parse_size(options.memory, "--mem");
    constexpr std::uint64_t least = std::uint64_t{128} << 20;
    constexpr std::uint64_t most = std::uint64_t{64} << 30;
    if (memory.count() < least || memory.count() > most)
        throw Error(ErrorKind::usage, concat("--mem '", options.memory, "' is not between 128M and 64G"));
    return memory;
}

}  // namespace

void add_embedded_options(Command& command, EmbeddedOptions& options) {
    add_opening_options(command, options.image);
    add_reading_options(command, options.image);
    command.add_option("--name", options.name, "NAME",
                       "Name of the device (default: the image's name without .vmdk)");
    command
        .add_option("--sector-size", options.sector_size, "BYTES",
                    "Logical sector of the disk, 512 or 4096 (default: what the image says)")
        .one_of({512, 4096});
    command.add_option("--key-file", options.key_file, "FILE",
                       "Key of the encrypted volumes, or their passphrase, in FILE");
    command.add_option("--cache-dir", options.cache_dir, "DIR",
                       "Where compressed grains are inflated (default: in the embedded kernel's memory)");
    command.add_option("--cache-limit", options.cache_limit, "SIZE",
                       "How much the cache may take (default: a quarter of what is free in DIR)");
    command.add_option("--mem", options.memory, "SIZE", "Memory of the embedded kernel (default: 512M)");
    command
        .add_option("--timeout", options.timeout_s, "SECONDS",
                    "End it after this many seconds, with status 124")
        .in_range(1U, 1000000U);
    command.add_flag("--console", options.console,
                     "Show the embedded kernel's own messages on standard error");
}

void add_directory_options(Command& command, EmbeddedOptions& options) {
    for (const auto& [option, value, text] :
         {std::tuple("--dir", &options.directories,
                     "Show a directory of this machine, writable (repeatable)"),
          std::tuple("--dir-ro", &options.read_only_directories,
                     "Show a directory of this machine, read-only (repeatable)")})
        command.add_option(option, *value, "DIR", text);
}

PreparedMachine::PreparedMachine(const EmbeddedOptions& options) {
    const std::string& image = options.image.image;
    OpenImage opened = open_image(options.image);
    with_context(concat("cannot open '", image, "'"), [&] {
        if (!options.image.allow_damaged) refuse_damage(opened);
    });
    Sandbox& sandbox = machine.sandbox;
    Spellings spellings(sandbox);
    const auto show = [&](Visible visible) {
        for (const std::string& covered : covered_directories())
            if (lies_below(visible.path, covered)) {
                const std::string directory = fs::is_directory(visible.path)
                                                  ? visible.path
                                                  : fs::path(visible.path).parent_path().string();
                if (std::find(job.show_again.begin(), job.show_again.end(), directory) ==
                    job.show_again.end())
                    job.show_again.push_back(directory);
            }
        sandbox.visible.push_back(std::move(visible));
    };
    const auto show_directory = [&](const char* option, const std::string& given, bool writable) {
        const std::string path = canonical(given);
        refuse_directory(option, given, path);
        show({path, std::nullopt, writable});
        if (writable) job.writable.push_back(path);
        spellings.add(given, true);
    };
    for (const std::string& given : options.read_only_directories) show_directory("--dir-ro", given, false);
    for (const std::string& given : options.directories) show_directory("--dir", given, true);
    if (options.cache_dir) show_directory("--cache-dir", *options.cache_dir, true);
    // After the directories, so that a writable one does not make its files writable.
    for (const FilePtr& file : opened.files) {
        if (file->kind() != FileKind::regular)
            throw Error(
                ErrorKind::refused,
                concat("'", file->path(), "' is a block device, which the embedded kernel cannot reach"));
        show({file->path(), held_.emplace_back(held_above(file->fd())).get(), false});
    }
    const std::string own_path = canonical(image);
    if (std::none_of(sandbox.visible.begin(), sandbox.visible.end(),
                     [&](const Visible& visible) { return visible.path == own_path; }))
        show({own_path, std::nullopt, false});
    spellings.add(image, false);
    for (const auto* directories : {&options.image.open.allow_paths, &options.image.chain.search_dirs})
        for (const std::string& directory : *directories) {
            sandbox.directories.push_back(canonical(directory));
            spellings.add(directory, true);
        }
    if (options.key_file) {
        show({canonical(*options.key_file), std::nullopt, false});
        job.key_options = {"--key-file", canonical(*options.key_file)};
    }
    sandbox.memory = memory_of(options);
    machine.show_console = options.console;
    if (options.timeout_s) machine.timeout = std::chrono::seconds(*options.timeout_s);

    job.image = absolute(image);
    job.name = options.name.value_or(default_name(opened.image().path));
    check_name(job.name);
    job.image_options = image_words(options.image);
    if (options.cache_dir) add_option(job.image_options, "--cache-dir", canonical(*options.cache_dir));
    // Its own memory is there for that.
    if (options.cache_limit || !options.cache_dir)
        add_option(job.image_options, "--cache-limit",
                   options.cache_limit.value_or(std::to_string(sandbox.memory.count())));
    if (options.sector_size != 0)
        add_option(job.image_options, "--sector-size", std::to_string(options.sector_size));
    job.attach_options = {"--name", job.name};
}

int PreparedMachine::run() {
    machine.terminal = job.terminal;
    MachineFilter filter = make_machine_filter();
    if (filter.program)
        machine.sandbox.filter = held_.emplace_back(held_above(filter.program.get())).get();
    else
        print_notes(
            {concat("the embedded kernel runs without a system call filter, which this system does not "
                    "grant (",
                    filter.not_granted, ")")});
    machine.sandbox.may_disable_userns = may_disable_userns();
    machine.sandbox.program = held_.emplace_back(our_program()).get();
    machine.sandbox.job = held_.emplace_back(memory_file(to_text(job))).get();
    return run_machine(machine);
}

}  // namespace vmdkdm
