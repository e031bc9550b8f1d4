#include "tab/device.h"

#include <algorithm>
#include <array>

#include "base/concat.h"

namespace vmdkdm {
namespace {

// udev's names of links: what is not ASCII stays as it is where it is UTF-8, which libblkid has seen to.
std::string udev_encoded(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::string encoded;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool stays = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           std::string_view("#+-.:=@_").find(c) != std::string_view::npos || byte >= 0x80;
        encoded += stays ? std::string(1, c) : std::string{'\\', 'x', hex[byte >> 4], hex[byte & 15]};
    }
    return encoded;
}

}  // namespace

std::string device_path(std::string_view device) {
    constexpr std::array<std::array<std::string_view, 2>, 4> tags = {{{"LABEL=", "by-label"},
                                                                      {"UUID=", "by-uuid"},
                                                                      {"PARTLABEL=", "by-partlabel"},
                                                                      {"PARTUUID=", "by-partuuid"}}};
    for (const auto& [tag, directory] : tags) {
        if (!device.starts_with(tag)) continue;
        std::string_view value = device.substr(tag.size());
        // fstab(5) allows quotes.
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
            value = value.substr(1, value.size() - 2);
        return concat("/dev/disk/", directory, "/", udev_encoded(value));
    }
    return std::string(device);
}

const TabOption* host_options(const Tab& tab, std::string_view device) {
    for (const TabEntry& entry : tab.entries)
        if (entry.image.device == device)
            if (const TabOption* option = entry.find("host-options")) return option;
    return nullptr;
}

std::string device_mount_options(const Tab& tab, std::string_view device) {
    const bool writes = std::any_of(tab.entries.begin(), tab.entries.end(), [&](const TabEntry& entry) {
        return entry.image.device == device && entry.writes();
    });
    const TabOption* own = host_options(tab, device);
    return concat(writes ? "rw" : "ro", ",nosuid,nodev,noexec", own == nullptr ? "" : ",",
                  own == nullptr ? "" : *own->value);
}

}  // namespace vmdkdm
