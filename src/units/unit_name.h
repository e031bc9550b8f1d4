// Names of systemd's units, escaped as systemd-escape(1) does (systemd.unit(5), "String escaping").
#pragma once

#include <string>
#include <string_view>

namespace vmdkdm {

/// UNIT_NAME_MAX: 255 bytes and the NUL.
inline constexpr std::size_t max_unit_name_length = 255;

/// As `systemd-escape TEXT`.
std::string unit_escape(std::string_view text);

/// As `systemd-escape --path PATH`; the path must be absolute and without "." and "..".
std::string unit_path_escape(std::string_view path);

/// "vmdk-dm@NAME.service"
std::string service_of(std::string_view name);

/// "dev-disk-by\x2dlabel-HOST.device" of "LABEL=HOST", "dev-sda1.device" of "/dev/sda1".
std::string device_unit(std::string_view device);

/// Where udev has the device of fstab(5) or vmdktab(5): "/dev/disk/by-label/HOST" of "LABEL=HOST"; what is no
/// tag stays as it is.
std::string device_path(std::string_view device);

/// Whether systemd takes it for the name of a unit: "a@b.service", characters and kind included.
bool is_unit_name(std::string_view text);

}  // namespace vmdkdm
