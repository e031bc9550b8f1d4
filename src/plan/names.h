// What our devices are called: dm names, dm UUIDs, kpartx-style partition names. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dm/device_name.h"
#include "files/file.h"

namespace vmdkdm {

/// The device name of an image: its file name without ".vmdk", what libdevmapper would mangle as '_', and so
/// a '-' in front.
std::string default_name(const std::string& image_path);

/// kpartx's rule: "web1", but "disk0p1" when the disk's name ends in a digit; or with `delimiter` in between.
std::string partition_name(const std::string& disk, unsigned number,
                           const std::optional<std::string>& delimiter);

/// Throws Error (usage) when `delimiter` makes names that cannot be.
void check_delimiter(const std::string& disk, const std::string& delimiter);

/// The <id> of our UUIDs: device and inode of the descriptor. The kernel keeps dm UUIDs unique, so the same
/// image is not attached twice. Not stable over boots; nothing persistent is named after it.
std::string image_id(const FileIdentity& identity);
std::optional<FileIdentity> parse_image_id(std::string_view id);

inline constexpr std::string_view uuid_prefix = "VMDK-";

/// "VMDK-<id>-disk"
std::string disk_uuid(std::string_view id);
/// "part<N>-VMDK-<id>-disk": libblkid takes the partition number from this form.
std::string partition_uuid(std::string_view id, unsigned number);

/// A device below the disk, such as "origin": "<disk>-<layer>" and "VMDK-<id>-<layer>".
std::string inner_name(std::string_view disk, std::string_view layer);
std::string inner_uuid(std::string_view id, std::string_view layer);

/// A logical volume on the disk that we map ourselves: "<disk>-<vg>-<lv>", with the hyphens of VG and LV
/// doubled as LVM does it, and "VMDKLV-<id>-<lv uuid>". It is no part of the disk, but one of its users.
std::string logical_volume_name(std::string_view disk, std::string_view vg, std::string_view lv);
std::string logical_volume_uuid(std::string_view id, std::string_view lv_uuid);
/// The <id> in the UUID of such a volume; none for any other UUID.
std::optional<std::string> parse_logical_volume_uuid(std::string_view uuid);
/// "<vg>/<lv>" out of "<vg>-<lv>" with doubled hyphens, as in our names and LVM's; none when it is no such
/// name.
std::optional<std::string> parse_vg_lv(std::string_view name);

/// The snapshot below a disk of which long runs are read past it; and what a snapshot lies on: its origin,
/// and the image's files after the exception store.
inline constexpr std::string_view grains_layer = "grains";
inline constexpr std::string_view origin_layer = "origin";
inline constexpr std::string_view cow_layer = "cow";
/// What would be the disk, and lies below it under an overlay.
inline constexpr std::string_view base_layer = "base";
/// Files, and an overlay, that are read page by page, for want of direct I/O.
inline constexpr std::string_view pages_layer = "pages";
inline constexpr std::string_view overlay_pages_layer = "overlay";

/// A UUID of ours, taken apart.
struct OwnUuid {
    std::string id;
    unsigned partition = 0;  ///< 0 for the disk and for inner devices
    std::string layer;       ///< of a device below the disk; empty for the others
};
std::optional<OwnUuid> parse_own_uuid(std::string_view uuid);

}  // namespace vmdkdm
