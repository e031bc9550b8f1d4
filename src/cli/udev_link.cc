// vmdk-dm udev-link: what udev's rule (udev-rules/) asks to name its link to a partition. Not for people,
// hence not in
// --help.
#include <memory>

#include "attach/link_name.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/printer.h"

namespace vmdkdm {
namespace {

void run(const std::string& sysfs) {
    const std::optional<std::string> name = partition_link_name(sysfs);
    if (!name) throw Error(ErrorKind::not_found, concat("'", sysfs, "' is not a partition of ours"));
    out() << *name << "\n";
}

}  // namespace

void add_udev_link_command(Command& app) {
    Command command = app.add_command("udev-link", "Name udev's link to a partition");
    command.hide();
    const auto sysfs = std::make_shared<std::string>();
    command.add_argument("SYSFS", *sysfs, "Directory of the device, such as /sys/devices/virtual/block/dm-1")
        .required();
    command.on_run([sysfs] { run(*sysfs); });
}

}  // namespace vmdkdm
