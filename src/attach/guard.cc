#include "attach/guard.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

constexpr unsigned pause_between_looks_ms = 20;
constexpr unsigned patience_ms = 5000;

std::vector<DmInfo> devices_of(Kernel& kernel, const std::string& id) {
    std::vector<DmInfo> devices = kernel.list_devices();
    std::erase_if(devices, [&id](const DmInfo& device) {
        const auto own = parse_own_uuid(device.uuid);
        return !own || own->id != id;
    });
    return devices;
}

bool is_debris(const DmInfo& device) { return !device.live_table && device.open_count == 0; }

// What parent and child say to each other, one byte each.
constexpr char word_ready = 'r';
constexpr char word_keeping = 'k';
constexpr char word_all_is_well = '.';

// Partitions hold their disk open, so it takes a few rounds.
void remove_all(Kernel& kernel, const std::string& id) {
    for (const DmInfo& device : devices_of(kernel, id)) {
        if (device.open_count > 0) continue;
        try {
            kernel.remove_device(device.name);
        } catch (const Error&) {
            continue;  // gone, or somebody looks at it: the next round tells
        }
    }
}

// Runs in the child once the parent is gone: what it made is going, and the nodes with it.
void clean_up_after_parent(Kernel& kernel, const std::string& id, const std::string& disk_name,
                           bool all_is_ours) {
    for (unsigned waited_ms = 0; waited_ms < patience_ms; waited_ms += pause_between_looks_ms) {
        if (devices_of(kernel, id).empty()) break;
        if (all_is_ours)
            remove_all(kernel, id);
        else
            remove_debris(kernel, id);
        kernel.pause_ms(pause_between_looks_ms);
    }
    kernel.refresh_nodes(disk_name);
    kernel.settle();
}

void tell(const UniqueFd& other, char word) {
    // A socket and not a pipe, so that a child that was killed costs us an error and not a SIGPIPE.
    ::send(other.get(), &word, 1, MSG_NOSIGNAL);
}

}  // namespace

void remove_debris(Kernel& kernel, const std::string& id) {
    std::vector<DmInfo> suspects = devices_of(kernel, id);
    std::erase_if(suspects, [](const DmInfo& device) { return !is_debris(device); });
    if (suspects.empty()) return;
    kernel.pause_ms(pause_between_looks_ms);
    for (const DmInfo& device : devices_of(kernel, id)) {
        const bool was_suspect = std::any_of(suspects.begin(), suspects.end(), [&](const DmInfo& suspect) {
            return suspect.device == device.device && suspect.uuid == device.uuid;
        });
        if (was_suspect && is_debris(device)) kernel.remove_device(device.name);
    }
}

AttachGuard::AttachGuard(Kernel& kernel, const std::string& id, const std::string& disk_name,
                         const std::function<void()>& also_undo) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw system_error("socketpair", errno);
    UniqueFd to_parent(ends[0]);
    to_child_.reset(ends[1]);
    child_ = ::fork();
    if (child_ < 0) throw system_error("fork", errno);
    if (child_ > 0) {
        // Until the child has a session of its own, a signal to our process group would take both. Its end of
        // the socket is closed here first, so that the read ends should the child have died.
        to_parent.reset();
        char ready = 0;
        while (::read(to_child_.get(), &ready, 1) < 0 && errno == EINTR) continue;
        return;
    }

    // A session of its own: a signal to our process group does not reach it. Nor does it keep anybody's pipe
    // open.
    ::setsid();
    to_child_.reset();
    const UniqueFd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nowhere.get(), standard);
    tell(to_parent, word_ready);
    char last_word = 0;
    char word = 0;
    for (;;) {
        const ssize_t got = ::read(to_parent.get(), &word, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        last_word = word;
    }
    try {
        if (last_word != word_all_is_well) {
            clean_up_after_parent(kernel, id, disk_name, last_word == word_keeping);
            if (also_undo && devices_of(kernel, id).empty()) also_undo();
        }
    } catch (const std::exception&) {
        ::_exit(1);  // nobody is left to be told
    }
    ::_exit(0);
}

void AttachGuard::about_to_keep() { tell(to_child_, word_keeping); }

AttachGuard::~AttachGuard() {
    tell(to_child_, word_all_is_well);
    to_child_.reset();
    while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) continue;
}

}  // namespace vmdkdm
