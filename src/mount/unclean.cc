#include "mount/unclean.h"

#include <algorithm>
#include <optional>
#include <span>

#include "base/little_endian.h"
#include "base/units.h"

namespace vmdkdm {
namespace {

using Data = std::vector<std::byte>;

std::uint16_t load_le16(std::span<const std::byte> bytes, std::size_t offset) {
    return load_le<std::uint16_t>(bytes, offset);
}

bool has_text(const Data& data, std::size_t offset, std::string_view text) {
    return data.size() >= offset + text.size() &&
           std::equal(text.begin(), text.end(), data.begin() + static_cast<std::ptrdiff_t>(offset),
                      [](char a, std::byte b) { return std::byte(a) == b; });
}

// FAT: Microsoft's specification of the boot sector, BS_Reserved1, whose bit 0 Windows and Linux set while
// the volume is mounted (Linux: fs/fat/inode.c, fat_set_state). With no 16-bit size of the FAT it is a FAT32.
std::string fat_mark(const ReadAt& read) {
    const Data boot = read(0, 512);
    if (boot.size() < 512) return {};
    const bool is_fat32 = load_le16(boot, 22) == 0;
    const std::byte state = boot[is_fat32 ? 65 : 37];
    return (state & std::byte{1}) != std::byte{0} ? "its dirty bit is set" : "";
}

// exFAT: Microsoft's specification, section 3.1.13, VolumeFlags.
std::string exfat_mark(const ReadAt& read) {
    const Data boot = read(0, 512);
    if (boot.size() < 512) return {};
    constexpr unsigned volume_dirty = 2;
    return (load_le16(boot, 106) & volume_dirty) != 0 ? "its dirty bit is set" : "";
}

// HFS+: Apple's Technical Note TN1150, volume header, attributes (big-endian).
std::string hfsplus_mark(const ReadAt& read) {
    const Data header = read(1024, 512);
    if (header.size() < 512 || (!has_text(header, 0, "H+") && !has_text(header, 0, "HX"))) return {};
    // Bits 8 to 15 of the attributes, which are 32 bits at offset 4.
    const std::byte attributes = header[6];
    constexpr std::byte volume_unmounted{0x01};
    constexpr std::byte volume_inconsistent{0x08};
    if ((attributes & volume_unmounted) == std::byte{0}) return "it is not marked as unmounted";
    return (attributes & volume_inconsistent) != std::byte{0} ? "it is marked as inconsistent" : "";
}

// NTFS, as the Linux drivers describe it: fs/ntfs/layout.h and logfile.h.
class Ntfs {
  public:
    static std::optional<Ntfs> open(const ReadAt& read) {
        const Data boot = read(0, 512);
        if (!has_text(boot, 3, "NTFS    ") || boot.size() < 512) return std::nullopt;
        Ntfs ntfs(read);
        const std::uint64_t sector = load_le16(boot, 11);
        const auto per_cluster = std::to_integer<unsigned>(boot[13]);
        // From 0x80 on it is the negative of a power of two.
        const std::uint64_t sectors = per_cluster <= 0x80 ? per_cluster : shifted(256 - per_cluster);
        ntfs.cluster_ = checked_multiply(sector, sectors);
        const auto record = std::to_integer<unsigned>(boot[64]);
        ntfs.record_ = record < 0x80 ? checked_multiply(record, ntfs.cluster_) : shifted(256 - record);
        ntfs.mft_ = checked_multiply(load_le64(boot, 48), ntfs.cluster_);
        constexpr std::uint64_t largest_record = 64 * 1024;
        if (ntfs.record_ < 512 || ntfs.record_ > largest_record || ntfs.record_ % 512 != 0)
            return std::nullopt;
        return ntfs;
    }

    // Bit 0 of the flags in $Volume's attribute $VOLUME_INFORMATION.
    bool is_marked_dirty() const {
        const Data record = read_record(3);
        const auto attribute = find_attribute(record, 0x70);
        if (!attribute || attribute->size() < 24 || (*attribute)[8] != std::byte{0}) return false;
        const std::size_t value = load_le16(*attribute, 20);
        return attribute->size() >= value + 12 && (load_le16(*attribute, value + 10) & 1U) != 0;
    }

    // The journal is open, and not marked as belonging to a clean volume, by the younger of its two restart
    // pages.
    bool has_open_journal() const {
        const std::optional<std::uint64_t> start = start_of_journal();
        if (!start) return false;
        const Data first = read_(*start, 4096);
        if (!has_text(first, 0, "RSTR") || first.size() < 4096) return false;
        std::optional<RestartArea> newest = restart_area(first);
        const Data second = read_(checked_add(*start, load_le32(first, 16)), 4096);
        if (const auto other = restart_area(second); other && (!newest || other->lsn > newest->lsn))
            newest = other;
        constexpr unsigned no_client = 0xffff;
        constexpr unsigned volume_is_clean = 2;
        return newest && newest->client_in_use != no_client && (newest->flags & volume_is_clean) == 0;
    }

  private:
    struct RestartArea {
        std::uint64_t lsn = 0;
        unsigned client_in_use = 0;
        unsigned flags = 0;
    };

    explicit Ntfs(const ReadAt& read) : read_(read) {}

    static std::uint64_t shifted(unsigned bits) { return bits < 32 ? std::uint64_t{1} << bits : 0; }

    // With the last two bytes of each 512 put back, which the update sequence array keeps.
    Data read_record(std::uint64_t number) const {
        Data record = read_(checked_add(mft_, checked_multiply(number, record_)), record_);
        if (record.size() != record_ || !has_text(record, 0, "FILE")) return {};
        const std::size_t array = load_le16(record, 4);
        const std::size_t count = load_le16(record, 6);
        if (count != record_ / 512 + 1 || array + 2 * count > record.size()) return {};
        for (std::size_t i = 1; i < count; ++i)
            for (std::size_t byte = 0; byte < 2; ++byte)
                record[i * 512 - 2 + byte] = record[array + 2 * i + byte];
        return record;
    }

    static std::optional<std::span<const std::byte>> find_attribute(const Data& record, std::uint32_t type) {
        if (record.size() < 24) return std::nullopt;
        for (std::size_t at = load_le16(record, 20); at + 24 <= record.size();) {
            const std::uint32_t length = load_le32(record, at + 4);
            if (length < 24 || length > record.size() - at) return std::nullopt;
            if (load_le32(record, at) == type) return std::span(record).subspan(at, length);
            at += length;
        }
        return std::nullopt;
    }

    // $LogFile's data is never resident; where it begins is in the first of its mapping pairs.
    std::optional<std::uint64_t> start_of_journal() const {
        const Data record = read_record(2);
        const auto attribute = find_attribute(record, 0x80);
        if (!attribute || (*attribute)[8] != std::byte{1} || attribute->size() < 64) return std::nullopt;
        const std::size_t pairs = load_le16(*attribute, 32);
        if (pairs + 1 > attribute->size()) return std::nullopt;
        const auto sizes = std::to_integer<unsigned>((*attribute)[pairs]);
        const std::size_t bytes_of_length = sizes & 0xfU;
        const std::size_t bytes_of_cluster = sizes >> 4U;
        if (bytes_of_cluster == 0 || bytes_of_cluster > 7 ||
            pairs + 1 + bytes_of_length + bytes_of_cluster > attribute->size())
            return std::nullopt;
        std::uint64_t cluster = 0;
        for (std::size_t i = 0; i < bytes_of_cluster; ++i)
            cluster |= std::to_integer<std::uint64_t>((*attribute)[pairs + 1 + bytes_of_length + i]) << 8 * i;
        return checked_multiply(cluster, cluster_);
    }

    static std::optional<RestartArea> restart_area(const Data& page) {
        if (!has_text(page, 0, "RSTR") || page.size() < 4096) return std::nullopt;
        const std::size_t at = load_le16(page, 24);
        // Before the first place of the update sequence array, so it can be read as it stands.
        if (at + 16 > 510) return std::nullopt;
        return RestartArea{load_le64(page, at), load_le16(page, at + 12), load_le16(page, at + 14)};
    }

    ReadAt read_;
    std::uint64_t cluster_ = 0;
    std::uint64_t record_ = 0;
    std::uint64_t mft_ = 0;
};

std::string ntfs_mark(const ReadAt& read) {
    const std::optional<Ntfs> ntfs = Ntfs::open(read);
    if (!ntfs) return {};
    if (ntfs->is_marked_dirty()) return "its volume is marked as dirty";
    return ntfs->has_open_journal() ? "its journal ($LogFile) is open" : "";
}

}  // namespace

std::string unclean_mark(std::string_view type, const ReadAt& read) {
    try {
        if (type == "vfat" || type == "msdos") return fat_mark(read);
        if (type == "exfat") return exfat_mark(read);
        if (type == "hfsplus") return hfsplus_mark(read);
        if (type == "ntfs") return ntfs_mark(read);
    } catch (const UnitOverflow&) {
        // Numbers that cannot be: the driver will have its own word on that.
    }
    return {};
}

bool is_hibernation(const std::vector<std::byte>& beginning) {
    return has_text(beginning, 0, "hibr") || has_text(beginning, 0, "HIBR");
}

}  // namespace vmdkdm
