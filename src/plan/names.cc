#include "plan/names.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::string_view disk_suffix = "-disk";
constexpr std::string_view logical_volume_prefix = "VMDKLV-";
constexpr std::size_t max_dm_name_length = 127;  // DM_NAME_LEN is 128 with the NUL
constexpr unsigned max_partition_number = 128;   // of a GPT as it is usually made

std::optional<std::uint64_t> parse_hex(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string with_doubled_hyphens(std::string_view text) {
    std::string doubled;
    for (const char c : text) doubled.append(c == '-' ? 2 : 1, c);
    return doubled;
}

}  // namespace

std::string default_name(const std::string& image_path) {
    std::string name = std::filesystem::path(image_path).filename().string();
    if (name.size() > 5) {
        std::string suffix = name.substr(name.size() - 5);
        for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        if (suffix == ".vmdk") name.resize(name.size() - 5);
    }
    for (char& c : name)
        if (!may_stand_in_name(c)) c = '_';
    if (name.starts_with('-')) name.front() = '_';
    return name;
}

void check_delimiter(const std::string& disk, const std::string& delimiter) {
    check_name_characters("the delimiter", delimiter);
    const std::size_t longest = partition_name(disk, max_partition_number, delimiter).size();
    if (longest > max_dm_name_length)
        throw Error(ErrorKind::usage,
                    concat("with the delimiter '", delimiter, "' names of partitions are up to ", longest,
                           " bytes long (at most ", max_dm_name_length, ")"));
}

std::string partition_name(const std::string& disk, unsigned number,
                           const std::optional<std::string>& delimiter) {
    const bool ends_in_digit = !disk.empty() && std::isdigit(static_cast<unsigned char>(disk.back())) != 0;
    return concat(disk, delimiter ? *delimiter : ends_in_digit ? "p" : "", number);
}

std::string image_id(const FileIdentity& identity) {
    std::ostringstream id;
    id << std::hex << identity.device << "." << identity.inode;
    return id.str();
}

std::optional<FileIdentity> parse_image_id(std::string_view id) {
    const std::size_t dot = id.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const auto device = parse_hex(id.substr(0, dot));
    const auto inode = parse_hex(id.substr(dot + 1));
    if (!device || !inode) return std::nullopt;
    return FileIdentity{*device, *inode};
}

std::string disk_uuid(std::string_view id) { return concat(uuid_prefix, id, disk_suffix); }

std::string partition_uuid(std::string_view id, unsigned number) {
    return concat("part", number, "-", disk_uuid(id));
}

std::string inner_name(std::string_view disk, std::string_view layer) { return concat(disk, "-", layer); }

std::string inner_uuid(std::string_view id, std::string_view layer) {
    return concat(uuid_prefix, id, "-", layer);
}

std::string logical_volume_name(std::string_view disk, std::string_view vg, std::string_view lv) {
    return concat(disk, "-", with_doubled_hyphens(vg), "-", with_doubled_hyphens(lv));
}

std::string logical_volume_uuid(std::string_view id, std::string_view lv_uuid) {
    std::string compact(lv_uuid);
    std::erase(compact, '-');
    return concat(logical_volume_prefix, id, "-", compact);
}

std::optional<std::string> parse_logical_volume_uuid(std::string_view uuid) {
    if (!uuid.starts_with(logical_volume_prefix)) return std::nullopt;
    uuid.remove_prefix(logical_volume_prefix.size());
    const std::size_t dash = uuid.find('-');
    if (dash == std::string_view::npos || dash == 0 || dash + 1 == uuid.size()) return std::nullopt;
    return std::string(uuid.substr(0, dash));
}

std::optional<std::string> parse_vg_lv(std::string_view name) {
    std::string plain;
    bool separated = false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        const bool doubled = name[i] == '-' && i + 1 < name.size() && name[i + 1] == '-';
        if (name[i] == '-' && !doubled) {
            if (separated) return std::nullopt;
            separated = true;
            plain += '/';
            continue;
        }
        plain += name[i];
        if (doubled) ++i;
    }
    return separated && plain.front() != '/' && plain.back() != '/' ? std::optional(plain) : std::nullopt;
}

std::optional<OwnUuid> parse_own_uuid(std::string_view uuid) {
    OwnUuid own;
    if (uuid.starts_with("part")) {
        const std::size_t dash = uuid.find('-');
        if (dash == std::string_view::npos) return std::nullopt;
        const std::string_view digits = uuid.substr(4, dash - 4);
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), own.partition);
        if (error != std::errc() || end != digits.data() + digits.size() || own.partition == 0)
            return std::nullopt;
        uuid.remove_prefix(dash + 1);
    }
    if (!uuid.starts_with(uuid_prefix)) return std::nullopt;
    uuid.remove_prefix(uuid_prefix.size());
    const std::size_t dash = uuid.rfind('-');
    if (dash == std::string_view::npos || dash == 0 || dash + 1 == uuid.size()) return std::nullopt;
    own.id = uuid.substr(0, dash);
    if (uuid.substr(dash) != disk_suffix) own.layer = uuid.substr(dash + 1);
    if (!own.layer.empty() && own.partition != 0) return std::nullopt;
    return own;
}

}  // namespace vmdkdm
