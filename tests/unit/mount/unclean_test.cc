#include "mount/unclean.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace vmdkdm {
namespace {

// A file system in memory.
class Disk {
  public:
    explicit Disk(std::size_t size) : bytes_(size) {}
    void put(std::size_t at, std::uint64_t value, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) bytes_[at + i] = static_cast<std::byte>(value >> (8 * i));
    }
    void put(std::size_t at, std::string_view text) {
        std::transform(text.begin(), text.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at),
                       [](char c) { return std::byte(c); });
    }
    std::string mark(std::string_view type) const {
        return unclean_mark(type, [this](std::uint64_t offset, std::size_t size) {
            const std::uint64_t begin = std::min<std::uint64_t>(offset, bytes_.size());
            const std::uint64_t end = std::min<std::uint64_t>(begin + size, bytes_.size());
            return std::vector<std::byte>(bytes_.begin() + static_cast<std::ptrdiff_t>(begin),
                                          bytes_.begin() + static_cast<std::ptrdiff_t>(end));
        });
    }

  private:
    std::vector<std::byte> bytes_;
};

TEST_CASE("the dirty bits of FAT and exFAT") {
    Disk fat16(512);
    fat16.put(22, 9, 2);
    fat16.put(65, 1, 1);  // means nothing there
    CHECK(fat16.mark("vfat").empty());
    fat16.put(37, 1, 1);
    CHECK(fat16.mark("vfat") == "its dirty bit is set");
    Disk fat32(512);
    CHECK(fat32.mark("vfat").empty());
    fat32.put(65, 1, 1);
    CHECK(fat32.mark("vfat") == "its dirty bit is set");
    Disk exfat(512);
    CHECK(exfat.mark("exfat").empty());
    exfat.put(106, 2, 2);
    CHECK(exfat.mark("exfat") == "its dirty bit is set");
}

TEST_CASE("an HFS+ says that it was unmounted") {
    Disk disk(4096);
    CHECK(disk.mark("hfsplus").empty());
    disk.put(1024, "H+");
    CHECK(disk.mark("hfsplus") == "it is not marked as unmounted");
    disk.put(1024 + 6, 0x01, 1);
    CHECK(disk.mark("hfsplus").empty());
    disk.put(1024 + 6, 0x09, 1);
    CHECK(disk.mark("hfsplus") == "it is marked as inconsistent");
}

// Clusters and MFT records of 1024 bytes, the MFT at cluster 4, the journal at cluster 16.
class Ntfs : public Disk {
  public:
    Ntfs() : Disk(32 * 1024) {
        put(3, "NTFS    ");
        put(11, 512, 2);
        put(13, 2, 1);
        put(48, 4, 8);
        put(64, 0xf6, 1);  // 2^10
        record(2);
        record(3);
        // $VOLUME_INFORMATION, resident.
        const std::size_t volume = at_record(3) + 56;
        put(volume, 0x70, 4);
        put(volume + 4, 40, 4);
        put(volume + 20, 24, 2);
        // $DATA of $LogFile, one run: 4 clusters from 16 on.
        const std::size_t data = at_record(2) + 56;
        put(data, 0x80, 4);
        put(data + 4, 72, 4);
        put(data + 8, 1, 1);
        put(data + 32, 64, 2);
        put(data + 64, 0x11, 1);
        put(data + 65, 4, 1);
        put(data + 66, 16, 1);
        restart_page(0, 7, 0xffff, 0);
        restart_page(4096, 6, 0, 0);
    }
    void volume_flags(unsigned flags) { put(at_record(3) + 56 + 24 + 10, flags, 2); }
    void restart_page(std::size_t offset, std::uint64_t lsn, unsigned in_use, unsigned flags) {
        const std::size_t at = 16 * 1024 + offset;
        put(at, "RSTR");
        put(at + 16, 4096, 4);
        put(at + 24, 48, 2);
        put(at + 48, lsn, 8);
        put(at + 48 + 12, in_use, 2);
        put(at + 48 + 14, flags, 2);
    }

  private:
    static std::size_t at_record(std::size_t number) { return 4 * 1024 + number * 1024; }
    void record(std::size_t number) {
        const std::size_t at = at_record(number);
        put(at, "FILE");
        put(at + 4, 48, 2);
        put(at + 6, 3, 2);
        put(at + 20, 56, 2);
    }
};

TEST_CASE("an NTFS is unclean by its volume's flag, or by a journal that is open and not marked clean") {
    Ntfs ntfs;
    CHECK(ntfs.mark("ntfs").empty());
    SECTION("flag") {
        ntfs.volume_flags(1);
        CHECK(ntfs.mark("ntfs") == "its volume is marked as dirty");
    }
    SECTION("the younger restart page counts") {
        ntfs.restart_page(4096, 8, 0, 0);
        CHECK(ntfs.mark("ntfs") == "its journal ($LogFile) is open");
    }
    SECTION("Windows XP and later leave it open") {
        ntfs.restart_page(4096, 8, 0, 2);
        CHECK(ntfs.mark("ntfs").empty());
    }
}

TEST_CASE("bytes that are no file system of that type say nothing, whatever they are") {
    for (const char* type : {"vfat", "exfat", "hfsplus", "ntfs", "ext4"}) {
        CHECK(Disk(0).mark(type).empty());
        CHECK(Disk(100).mark(type).empty());
        CHECK(Disk(1 << 16).mark(type).empty());
    }
    // Every byte of the places that are looked at, at its largest and smallest.
    for (std::size_t at = 0; at < 16 * 1024 + 128; ++at)
        for (const unsigned value : {0U, 0x7fU, 0x80U, 0xffU}) {
            if (at == 512) at = 6 * 1024;
            Ntfs ntfs;
            ntfs.put(at, value, 1);
            CHECK_NOTHROW(ntfs.mark("ntfs"));
        }
}

TEST_CASE("a hibernated Windows") {
    const auto beginning = [](std::string_view text) {
        std::vector<std::byte> bytes;
        for (const char c : text) bytes.push_back(std::byte(c));
        return bytes;
    };
    CHECK(is_hibernation(beginning("hibr")));
    CHECK(is_hibernation(beginning("HIBR")));
    CHECK_FALSE(is_hibernation(beginning("wake")));
    CHECK_FALSE(is_hibernation(beginning("")));
}

}  // namespace
}  // namespace vmdkdm
