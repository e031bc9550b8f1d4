// Mapped devices through libdevmapper, and the wait for udev. Each device is made in three tasks (CREATE,
// RELOAD, RESUME) because only RESUME sends an event, and the table is then there when udev looks.
#include <fcntl.h>
#include <libdevmapper.h>
#include <libudev.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "kernel/held_fd.h"
#include "kernel/linux_kernel.h"
#include "kernel/loop_events.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

// udevd has a handful of workers, so a disk of many partitions takes it longer.
std::chrono::seconds udev_deadline(std::size_t devices) {
    constexpr std::size_t few = 3;
    constexpr auto of_few = std::chrono::seconds(10);
    constexpr auto of_each_more = std::chrono::seconds(5);
    return of_few + of_each_more * static_cast<int>(std::max(devices, few) - few);
}

// udevd passes events on within its own network namespace. From another one we see that it has dealt with the
// mapped devices, whose events come after those of the loop devices, and hear nothing.
constexpr auto patience_with_the_unheard = std::chrono::seconds(2);

// libdevmapper writes its errors to stderr unless it is given a function; the last one is kept for our
// message.
std::string& last_library_message() {
    static std::string message;
    return message;
}

__attribute__((format(printf, 5, 6))) void keep_library_message(int level, const char*, int, int,
                                                                const char* format, ...) {
    constexpr int log_error = 3;  // _LOG_ERR of libdevmapper, which exports no name for it
    if ((level & 7) > log_error) return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    last_library_message() = text;
}

class DmTask {
  public:
    DmTask(int type, std::string what) : task_(create(type)), what_(std::move(what)) {
        // The first task of all opens /dev/mapper/control.
        if (task_ == nullptr) refuse(errno);
    }
    DmTask(int type, const std::string& what, const std::string& name) : DmTask(type, what) {
        check(::dm_task_set_name(task_, name.c_str()));
    }
    DmTask(const DmTask&) = delete;
    DmTask& operator=(const DmTask&) = delete;
    ~DmTask() {
        if (task_ != nullptr) ::dm_task_destroy(task_);
    }

    dm_task* get() { return task_; }

    void check(int succeeded) {
        if (succeeded == 0) fail(EINVAL);
    }

    void run() {
        last_library_message().clear();
        errno = 0;
        if (::dm_task_run(task_) == 0) fail(::dm_task_get_errno(task_));
    }

    dm_info info() {
        dm_info info = {};
        check(::dm_task_get_info(task_, &info));
        return info;
    }

  private:
    // libcryptsetup, in the same process, sets a function of its own and takes it back to the default.
    static dm_task* create(int type) {
        ::dm_log_with_errno_init(keep_library_message);
        errno = 0;
        return ::dm_task_create(type);
    }

    [[noreturn]] static void refuse(int error) {
        if (::geteuid() != 0) throw Error(ErrorKind::system, "needs root");
        // The library has forgotten why.
        const UniqueFd control(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
        if (!control && (errno == EMFILE || errno == ENFILE))
            throw system_error("cannot open /dev/mapper/control", errno);
        throw Error(
            ErrorKind::system,
            error == EACCES || error == EPERM
                ? "root may not use the device mapper here: CAP_SYS_ADMIN is missing, as in a container"
                : "this kernel offers no device mapper (modprobe dm_mod?)");
    }

    [[noreturn]] void fail(int error) const {
        if (error == 0) error = errno;
        // CREATE sets no errno when the name or UUID exists; the library's own words are all there is.
        const std::string& message = last_library_message();
        if (error == 0 && message.find("busy") != std::string::npos) error = EBUSY;
        if (error == EACCES || error == EPERM) throw Error(ErrorKind::system, concat(what_, ": needs root"));
        if (error == ENXIO) throw Error(ErrorKind::not_found, concat(what_, ": no such device"));
        if (error != 0) throw system_error(what_, error);
        throw Error(ErrorKind::system, concat(what_, ": ", message.empty() ? "failed" : message));
    }

    dm_task* task_;
    std::string what_;
};

bool udevd_runs() {
    udev* context = ::udev_new();
    if (context == nullptr) return false;
    udev_queue* queue = ::udev_queue_new(context);
    const bool runs = queue != nullptr && ::udev_queue_get_udev_is_active(queue) != 0;
    ::udev_queue_unref(queue);
    ::udev_unref(context);
    return runs;
}

// The node is made, and that is all. Without the disk rules nobody reads what is on the device: it gets no
// links by UUID or label, and the rules of btrfs and mdadm, which heed no flag, find no type to act on. Those
// of LVM and udisks heed the second flag. Should any rule make a link all the same, others' links win.
constexpr std::uint16_t quarantine_flags =
    DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG | DM_UDEV_LOW_PRIORITY_FLAG;

std::uint16_t udev_flags(DeviceRole role) {
    switch (role) {
        case DeviceRole::quarantined:
            return quarantine_flags;
        case DeviceRole::exposed:
            return 0;
        case DeviceRole::inner:
            return quarantine_flags | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG;
    }
    return quarantine_flags;
}

// The node of a mapped device: devtmpfs and udev have it as /dev/dm-N.
UniqueFd open_by_number(DeviceNumber device) {
    const dev_t number = makedev(device.major, device.minor);
    for (const std::string& node :
         {concat("/dev/dm-", device.minor), concat("/dev/block/", to_string(device))}) {
        UniqueFd fd(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
        struct stat status = {};
        if (fd && ::fstat(fd.get(), &status) == 0 && S_ISBLK(status.st_mode) && status.st_rdev == number)
            return fd;
    }
    // A /dev without devtmpfs: a node of our own, for as long as it takes to open it.
    const std::string node = concat(::dm_dir(), "/.vmdk-dm-", ::getpid(), "-", device.minor);
    if (::mknod(node.c_str(), S_IFBLK | 0600, number) != 0)
        throw system_error(concat("cannot make a node for device ", to_string(device)), errno);
    UniqueFd fd(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    const int error = errno;
    ::unlink(node.c_str());
    if (!fd) throw system_error(concat("cannot open device ", to_string(device)), error);
    return fd;
}

// Once it has, the cookie is no more.
bool has_completed(std::uint32_t cookie) {
    int ready = 0;
    return ::dm_udev_wait_immediate(cookie, &ready) == 0 || ready != 0;
}

// Ends the wait for `cookie`, unless that is 0, in udev's stead, so that its semaphore does not outlive us,
// and makes the nodes.
std::string give_up_on_udev(std::uint32_t cookie, const std::vector<std::string>& nodes) {
    while (cookie != 0 && ::dm_udev_complete(cookie) != 0 && !has_completed(cookie)) continue;
    for (const std::string& name : nodes) ::dm_mknodes(name.c_str());
    ::dm_task_update_nodes();
    return concat("udev did not answer within ", udev_deadline(nodes.size()).count(),
                  " s; links under /dev/disk may be missing or stale (see --no-udev)");
}

}  // namespace

LinuxKernel::LinuxKernel(UdevUse udev) : with_udev_(udev == UdevUse::automatic && udevd_runs()) {
    if (with_udev_ && ::dm_udev_get_sync_support() == 0) with_udev_ = false;
    // Without udev no cookie is waited for, and libdevmapper makes and removes the nodes in /dev/mapper
    // itself.
    if (!with_udev_) ::dm_udev_set_sync_support(0);
}

LinuxKernel::~LinuxKernel() {
    settle();
    ::dm_lib_release();
}

DeviceNumber LinuxKernel::create_device(const std::string& name, const std::string& uuid) {
    DmTask task(DM_DEVICE_CREATE, "create", name);
    task.check(::dm_task_set_uuid(task.get(), uuid.c_str()));
    task.check(::dm_task_set_add_node(task.get(), DM_ADD_NODE_ON_RESUME));
    task.run();
    const dm_info info = task.info();
    return {info.major, info.minor};
}

HeldDevicePtr LinuxKernel::hold_device(DeviceNumber device) {
    return std::make_unique<HeldFd>(open_by_number(device));
}

void LinuxKernel::remove_when_unused(const std::string& name) {
    DmTask task(DM_DEVICE_REMOVE, "deferred removal", name);
    task.check(::dm_task_deferred_remove(task.get()));
    // Without a cookie libdevmapper would take the node away at once. It completes the cookie itself when the
    // device is in use and no event comes.
    if (with_udev_)
        task.check(::dm_task_set_cookie(task.get(), cookie_.get(), DM_UDEV_DISABLE_LIBRARY_FALLBACK));
    task.run();
}

void LinuxKernel::cancel_deferred_removal(const std::string& name) {
    DmTask task(DM_DEVICE_TARGET_MSG, "cancel deferred removal", name);
    task.check(::dm_task_set_sector(task.get(), 0));
    task.check(::dm_task_set_message(task.get(), "@cancel_deferred_remove"));
    task.run();
}

void LinuxKernel::load_table(const std::string& name, const Table& table, bool read_only) {
    DmTask task(DM_DEVICE_RELOAD, "table load", name);
    LinePrinter printer([](PlannedDevice) -> std::string {
        throw Error(ErrorKind::system, "a table with unbound devices was loaded");
    });
    std::string arguments;
    for (const TableLine& line : table.lines()) {
        arguments.clear();
        printer.append_arguments(arguments, line.target);
        task.check(::dm_task_add_target(task.get(), line.start.count(), line.length.count(),
                                        std::string(target_type(line.target)).c_str(), arguments.c_str()));
    }
    if (read_only) task.check(::dm_task_set_ro(task.get()));
    task.run();
}

void LinuxKernel::resume_device(const std::string& name, DeviceRole role) {
    DmTask task(DM_DEVICE_RESUME, "resume", name);
    task.check(::dm_task_set_add_node(task.get(), DM_ADD_NODE_ON_RESUME));
    // Flags go along even when nobody is waited for: an udevd that we do not see, such as that of a
    // container's host, hears of the device all the same. The node is then our business.
    const std::uint16_t nodes = with_udev_
                                    ? DM_UDEV_DISABLE_LIBRARY_FALLBACK
                                    : DM_UDEV_DISABLE_DM_RULES_FLAG | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG;
    task.check(::dm_task_set_cookie(task.get(), cookie_.get(), udev_flags(role) | nodes));
    if (with_udev_) awaited_nodes_.push_back(name);
    task.run();
    if (!with_udev_) ::dm_task_update_nodes();
}

// libdevmapper does this at a resume, too, but puts it off until the nodes are made, and tells of no error.
void LinuxKernel::set_read_ahead(const HeldDevice& device, Sectors distance) {
    if (::ioctl(device.fd(), BLKRASET, static_cast<unsigned long>(distance.count())) != 0)
        throw system_error("cannot set how far it is read ahead", errno);
}

void LinuxKernel::remove_device(const std::string& name) {
    DmTask task(DM_DEVICE_REMOVE, "remove", name);
    if (with_udev_) {
        task.check(::dm_task_set_cookie(task.get(), cookie_.get(), DM_UDEV_DISABLE_LIBRARY_FALLBACK));
        awaited_nodes_.push_back(name);
    }
    task.run();
    if (!with_udev_) ::dm_task_update_nodes();
}

std::vector<DmInfo> LinuxKernel::list_devices() {
    DmTask list(DM_DEVICE_LIST, "list devices");
    list.run();
    std::vector<DmInfo> devices;
    const dm_names* names = ::dm_task_get_names(list.get());
    if (names == nullptr || names->dev == 0) return devices;
    for (;;) {
        DmTask task(DM_DEVICE_INFO, "device info", names->name);
        task.run();
        const dm_info info = task.info();
        if (info.exists != 0) {
            const char* uuid = ::dm_task_get_uuid(task.get());
            devices.push_back({names->name,
                               uuid == nullptr ? "" : uuid,
                               {info.major, info.minor},
                               info.open_count,
                               info.live_table != 0,
                               info.read_only != 0,
                               info.deferred_remove != 0});
        }
        if (names->next == 0) return devices;
        names = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(names) + names->next);
    }
}

std::optional<bool> LinuxKernel::is_exposed(const DmInfo& device) {
    const std::unique_ptr<udev, decltype(&::udev_unref)> context(::udev_new(), ::udev_unref);
    const dev_t number = makedev(device.device.major, device.device.minor);
    const std::unique_ptr<udev_device, decltype(&::udev_device_unref)> known(
        ::udev_device_new_from_devnum(context.get(), 'b', number), ::udev_device_unref);
    const auto property = [&known](const char* key) {
        const char* value = known ? ::udev_device_get_property_value(known.get(), key) : nullptr;
        return std::string(value == nullptr ? "" : value);
    };
    // A number whose removal udev has not seen would still have the properties of its last device.
    if (property("DM_UUID") != device.uuid) return std::nullopt;
    return property("DM_UDEV_DISABLE_DISK_RULES_FLAG") != "1";
}

std::vector<DeviceNumber> LinuxKernel::dependencies(const std::string& name) {
    DmTask task(DM_DEVICE_DEPS, "dependencies", name);
    task.run();
    std::vector<DeviceNumber> devices;
    if (const dm_deps* deps = ::dm_task_get_deps(task.get()))
        for (std::uint32_t i = 0; i < deps->count; ++i) {
            const dev_t device = static_cast<dev_t>(deps->device[i]);
            devices.push_back({major(device), minor(device)});
        }
    return devices;
}

Sectors LinuxKernel::device_size(DeviceNumber device) {
    const std::string path = concat("/sys/dev/block/", to_string(device), "/size");
    std::ifstream in(path);
    std::uint64_t sectors = 0;
    // The disk of a device that has had no table is not there yet.
    if (!in) return Sectors(0);
    if (!(in >> sectors)) throw Error(ErrorKind::system, concat("cannot read ", path));
    return Sectors(sectors);
}

Table LinuxKernel::live_table(const std::string& name) {
    DmTask task(DM_DEVICE_TABLE, "table", name);
    task.run();
    std::string text;
    void* next = nullptr;
    do {
        std::uint64_t start = 0;
        std::uint64_t length = 0;
        char* type = nullptr;
        char* arguments = nullptr;
        next = ::dm_get_next_target(task.get(), next, &start, &length, &type, &arguments);
        if (type != nullptr) text += concat(start, " ", length, " ", type, " ", arguments, "\n");
    } while (next != nullptr);
    return Table::parse(text);
}

SnapshotStatus LinuxKernel::snapshot_status(const std::string& name) {
    DmTask task(DM_DEVICE_STATUS, "status", name);
    task.check(::dm_task_no_flush(task.get()));
    task.run();
    std::uint64_t start = 0;
    std::uint64_t length = 0;
    char* type = nullptr;
    char* status = nullptr;
    ::dm_get_next_target(task.get(), nullptr, &start, &length, &type, &status);
    return parse_snapshot_status(status == nullptr ? "" : status);
}

void LinuxKernel::refresh_nodes(const std::string& prefix) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(::dm_dir())) {
        std::string name = entry.path().filename();
        // Links are udev's business, and it has the kernel's event. A node that is none was made in its stead
        // when it did not answer.
        std::error_code gone;
        if (name.starts_with(prefix) && !(with_udev_ && entry.is_symlink(gone)))
            names.push_back(std::move(name));
    }
    for (const std::string& name : names) ::dm_mknodes(name.c_str());
    ::dm_task_update_nodes();
}

void LinuxKernel::require_node(const std::string& name, DeviceNumber device) {
    const std::string path = device_path(name);
    struct stat status = {};
    const bool is_there = ::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
                          status.st_rdev == makedev(device.major, device.minor);
    if (!is_there)
        throw Error(ErrorKind::system,
                    concat("the node ", path, " could not be made (may nodes be made here?)"));
}

std::string LinuxKernel::settle() {
    const std::vector<std::string> nodes = std::exchange(awaited_nodes_, {});
    const std::unique_ptr<LoopEvents> loops = std::move(loop_events_);
    const std::uint32_t cookie = *cookie_;
    std::string note;
    if (loops) loops->begin_to_wait();
    if (cookie != 0 || (loops && !loops->all_heard())) note = wait_for_udev(cookie, nodes, loops.get());
    *cookie_ = 0;
    ::dm_task_update_nodes();
    return note;
}

// Returns a note when udev does not answer.
std::string LinuxKernel::wait_for_udev(std::uint32_t cookie, const std::vector<std::string>& nodes,
                                       LoopEvents* loops) {
    // dm_udev_wait has no deadline, and a killed udev worker would hang us for ever.
    using std::chrono::milliseconds;
    using std::chrono::steady_clock;
    const auto start = steady_clock::now();
    auto last_answer = start;
    bool is_complete = cookie == 0;
    for (;;) {
        const auto now = steady_clock::now();
        if (!is_complete && has_completed(cookie)) {
            is_complete = true;
            last_answer = now;
        }
        if (loops != nullptr && loops->hear()) last_answer = now;
        const bool waits_for_loops = loops != nullptr && !loops->all_heard();
        if (is_complete && !waits_for_loops) return {};
        const auto silence = now - last_answer;
        if (is_complete && loops->is_deaf() && silence > patience_with_the_unheard) return {};
        if (silence > udev_deadline(nodes.size()) || interruption_pending())
            return give_up_on_udev(is_complete ? 0 : cookie, nodes);
        // The answer is noticed late by an eighth of the wait at most.
        const auto pause = std::clamp(std::chrono::duration_cast<milliseconds>((now - start) / 8),
                                      milliseconds(1), milliseconds(20));
        if (waits_for_loops)
            loops->wait_for_more(static_cast<int>(pause.count()));
        else
            pause_ms(static_cast<unsigned>(pause.count()));
    }
}

std::string LinuxKernel::device_path(const std::string& name) { return concat(::dm_dir(), "/", name); }

void LinuxKernel::pause_ms(unsigned milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

void LinuxKernel::throw_if_interrupted() {
    if (interruption_pending()) throw Error(ErrorKind::system, "interrupted");
}

}  // namespace vmdkdm
