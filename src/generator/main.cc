// vmdk-dm-generator: what systemd runs at its start and at each daemon-reload, to be told of /etc/vmdktab
// (systemd.generator(7)). It writes units and does nothing else; whatever is wrong, it ends soon, and well.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "base/unique_fd.h"
#include "generator/chain_files.h"
#include "units/units.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

// Nobody reads a generator's standard error. The kernel's log goes to the journal when that is up. Only the
// first line of a message: the others show the line of the table and a caret.
void complain(const std::string& message) {
    if (std::getenv("SYSTEMD_SCOPE") == nullptr) {
        std::cerr << "vmdk-dm-generator: " << escaped_lines(message) << "\n";
        return;
    }
    const UniqueFd log(::open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY));
    // <27>: an error of a daemon.
    const std::string record =
        concat("<27>vmdk-dm-generator: ", escaped(message.substr(0, message.find('\n'))), "\n");
    if (log && ::write(log.get(), record.data(), record.size()) < 0) return;
}

// Empty where there is none: neither fstab nor crypttab need exist.
std::string content_of(const std::string& path) {
    std::string text;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    char buffer[4096];
    ssize_t count = 0;
    while (file && text.size() < max_tab_bytes && (count = ::read(file.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(count));
    return text;
}

// The names of the variables are those that systemd's own generators heed.
std::string path_of(const char* variable, const char* usual) {
    const char* other = std::getenv(variable);
    return other != nullptr ? other : usual;
}

bool is_switched_off() {
    std::istringstream words(content_of(path_of("VMDK_DM_CMDLINE", "/proc/cmdline")));
    for (std::string word; words >> word;)
        if (word == "vmdk-dm=0") return true;
    // What an initramfs attaches is its own scripts' task.
    const char* in_initrd = std::getenv("SYSTEMD_IN_INITRD");
    return in_initrd != nullptr && std::string_view(in_initrd) == "1";
}

std::optional<Tab> read_table() {
    try {
        return read_tab(path_of("SYSTEMD_VMDKTAB", default_tab_file));
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) complain(error.what());
        return std::nullopt;
    }
}

void write_file(const fs::path& directory, const UnitFile& unit) {
    const fs::path path = directory / unit.path;
    fs::create_directories(path.parent_path());
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file) throw system_error(concat("cannot write '", path.string(), "'"), errno);
    const ssize_t written = ::write(file.get(), unit.text.data(), unit.text.size());
    if (written != static_cast<ssize_t>(unit.text.size()))
        throw system_error(concat("cannot write '", path.string(), "'"), written < 0 ? errno : ENOSPC);
}

void write_link(const fs::path& directory, const UnitLink& link) {
    const fs::path path = directory / link.path;
    fs::create_directories(path.parent_path());
    if (::symlink(link.target.c_str(), path.c_str()) != 0 && errno != EEXIST)
        throw system_error(concat("cannot make the link '", path.string(), "'"), errno);
}

// One that cannot be written leaves the others.
template <class Made, class Write>
void write_each(const fs::path& directory, const std::vector<Made>& all, Write&& write) {
    for (const Made& one : all) try {
            write(directory, one);
        } catch (const std::exception& error) {
            complain(error.what());
        }
}

void generate(const fs::path& directory) {
    if (is_switched_off()) return;
    const std::optional<Tab> tab = read_table();
    if (!tab) return;
    Surroundings surroundings;
    surroundings.fstab = parse_fstab(content_of(path_of("SYSTEMD_FSTAB", "/etc/fstab")));
    surroundings.crypttab = parse_crypttab(content_of(path_of("SYSTEMD_CRYPTTAB", "/etc/crypttab")));
    surroundings.files = find_chain_files(tab->entries);
    surroundings.unit_directory = VMDK_DM_SYSTEMD_UNIT_DIR;

    const Units units = make_units(*tab, surroundings);
    for (const std::string& fault : units.faults) complain(fault);
    write_each(directory, units.files, write_file);
    write_each(directory, units.links, write_link);
}

}  // namespace
}  // namespace vmdkdm

// The other two directories that systemd gives are for units that go before or after those of the
// administrator.
int main(int count, char** arguments) {
    if (count != 2 && count != 4) {
        std::cerr << "Usage: vmdk-dm-generator DIRECTORY [EARLY-DIRECTORY LATE-DIRECTORY]\n"
                     "\nWrites units for the entries of /etc/vmdktab to DIRECTORY (see vmdktab(5)).\n";
        return 2;
    }
    try {
        vmdkdm::generate(arguments[1]);
    } catch (const std::exception& error) {
        vmdkdm::complain(error.what());
        return 1;
    }
    return 0;
}
