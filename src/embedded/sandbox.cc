#include "embedded/sandbox.h"

#include <unistd.h>

#include <filesystem>

#include "base/concat.h"
#include "embedded/lines.h"

namespace vmdkdm {
namespace {

// Its memory is a deleted file in there, and a socket of its own.
constexpr const char* work_directory = "/.vmdk-dm/work";

// User-Mode Linux moves its memory out of the way of what the host maps, and the file is as much longer.
constexpr std::uint64_t work_room = std::uint64_t{1} << 30;

class Words {
  public:
    template <class... Parts>
    void add(const Parts&... parts) {
        (words_.push_back(concat(parts)), ...);
    }
    std::vector<std::string> take() { return std::move(words_); }

  private:
    std::vector<std::string> words_;
};

// /usr, and /bin and its like as they are here: links into /usr, or directories.
void show_programs(Words& words) {
    words.add("--ro-bind", "/usr", "/usr");
    for (const char* path : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
        std::error_code error;
        if (const auto target = std::filesystem::read_symlink(path, error); !error)
            words.add("--symlink", target.string(), path);
        else if (std::filesystem::is_directory(path, error))
            words.add("--ro-bind", path, path);
    }
}

// What programs need there, and nothing that tells of this machine's users. LVM's is left out: a list of
// devices in it would hide the image's volumes.
void show_settings(Words& words) {
    for (const char* path : {"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
                             "/etc/localtime", "/etc/terminfo"})
        words.add("--ro-bind-try", path, path);
    words.add("--symlink", "/proc/self/mounts", "/etc/mtab");
}

void show(Words& words, const Visible& visible) {
    const bool writable = visible.writable;
    if (visible.descriptor)
        words.add(writable ? "--bind-fd" : "--ro-bind-fd", *visible.descriptor, visible.path);
    else
        words.add(writable ? "--bind" : "--ro-bind", visible.path, visible.path);
}

}  // namespace

const std::vector<std::string>& covered_directories() {
    static const std::vector<std::string> directories{"/dev", "/proc", "/sys",       "/run",
                                                      "/tmp", "/mnt",  "/var/cache", "/var/tmp"};
    return directories;
}

std::vector<std::string> bwrap_words(const Sandbox& sandbox) {
    Words words;
    words.add("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
              "--clearenv");
    if (sandbox.may_disable_userns) words.add("--disable-userns");
    if (sandbox.filter >= 0) words.add("--seccomp", sandbox.filter);
    // Root is somebody else inside. Its files it may still open where they are visible, by the name of its
    // own.
    if (::geteuid() == 0) words.add("--uid", 65534, "--gid", 65534);
    words.add("--hostname", "embedded", "--setenv", "PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
    words.add("--setenv", "TMPDIR", work_directory);
    show_programs(words);
    show_settings(words);
    for (const std::string& directory : covered_directories()) words.add("--dir", directory);
    // User-Mode Linux opens it for each line that has but one direction.
    words.add("--dev-bind", "/dev/null", "/dev/null");
    words.add("--symlink", "/run", "/var/run", "--symlink", "/run/lock", "/var/lock");
    words.add("--size", sandbox.memory.count() + work_room, "--tmpfs", work_directory);
    words.add("--ro-bind-fd", sandbox.program, program_path);
    words.add("--ro-bind-data", sandbox.job, job_path);
    for (const Visible& visible : sandbox.visible) show(words, visible);
    for (const std::string& directory : sandbox.directories) words.add("--dir", directory);
    for (const auto& [path, target] : sandbox.links) words.add("--symlink", target, path);
    words.add("--remount-ro", "/", "--chdir", "/");
    return words.take();
}

std::vector<std::string> kernel_words(Bytes memory) {
    Words words;
    words.add("linux.uml", concat("mem=", memory.count() >> 20, "M"), "rootfstype=hostfs", "rootflags=/",
              "rw");
    words.add(concat("init=", program_path), "umid=kernel", concat("uml_dir=", work_directory), "panic=-1");
    words.add("con=null", concat("con0=null,fd:", kernel_log_fd), "ssl=null");
    words.add(concat("ssl0=null,fd:", output_fd), concat("ssl1=null,fd:", errors_fd));
    words.add(concat("ssl2=fd:", input_fd, ",fd:", words_fd), "--", "embedded-init");
    return words.take();
}

}  // namespace vmdkdm
