#include "vmdk/foreign_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/concat.h"
#include "base/little_endian.h"
#include "base/text_cursor.h"

namespace vmdkdm {
namespace {

struct Signature {
    std::size_t offset;
    std::string_view bytes;
    std::string_view what;
};

constexpr std::string_view other_format =
    " image and no VMDK (qemu-nbd shows it as a device; qemu-img convert -O vmdk makes a VMDK of it)";
constexpr std::string_view unpack = ": unpack it first, and name the .vmdk that comes out";

using namespace std::string_view_literals;

// In the order in which they are looked for; each is followed by one of the texts above or stands alone.
constexpr Signature other_formats[] = {
    {0, "QFI\xfb"sv, "a qcow2"},
    {0x40, "\x7f\x10\xda\xbe"sv, "a VDI"},
    {0, "vhdxfile"sv, "a VHDX"},
    {0, "conectix"sv, "a VHD"},
};

constexpr Signature packed[] = {
    {257, "ustar"sv, "a tar archive, such as an OVA (tar -xf)"},
    {0, "\x1f\x8b"sv, "compressed with gzip (gunzip)"},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "compressed with xz (unxz)"},
    {0, "\x28\xb5\x2f\xfd"sv, "compressed with zstd (unzstd)"},
    {0, "BZh"sv, "compressed with bzip2 (bunzip2)"},
    {0, "PK\x03\x04"sv, "a zip archive (unzip)"},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive (7z x)"},
};

bool has(std::string_view head, const Signature& signature) {
    return head.size() >= signature.offset && head.substr(signature.offset).starts_with(signature.bytes);
}

template <std::size_t count>
const Signature* found_in(const Signature (&signatures)[count], std::string_view head) {
    const auto* found = std::find_if(std::begin(signatures), std::end(signatures),
                                     [head](const Signature& each) { return has(head, each); });
    return found == std::end(signatures) ? nullptr : found;
}

// A fixed VHD is a raw disk with a sector behind it.
bool ends_as_vhd(const File& file) {
    std::array<std::byte, 8> cookie{};
    if (file.size() < Bytes(2 * sector_size)) return false;
    file.read_at(file.size() - Bytes(sector_size), cookie);
    return std::memcmp(cookie.data(), "conectix", cookie.size()) == 0;
}

// "web" of "web-flat.vmdk", "web-f001.vmdk" and their like: the data of an image with no header of its own.
std::optional<std::string> name_of_disk(const std::string& path) {
    constexpr std::string_view ending = ".vmdk";
    if (!path.ends_with(ending)) return std::nullopt;
    const std::string stem = path.substr(0, path.size() - ending.size());
    const std::size_t dash = stem.rfind('-');
    if (dash == std::string::npos || dash == 0 || stem[dash - 1] == '/') return std::nullopt;
    const std::string_view rest = std::string_view(stem).substr(dash + 1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const bool is_piece =
        rest.size() >= 4 && rest.front() == 'f' && std::all_of(rest.begin() + 1, rest.end(), is_digit);
    if (rest != "flat" && rest != "rdm" && rest != "rdmp" && !is_piece) return std::nullopt;
    return stem.substr(0, dash);
}

// GPT with sectors of 512 or 4096 bytes, or a boot sector with a table of partitions in it.
std::optional<std::string_view> partition_table(std::string_view head) {
    for (const std::size_t sector : {512U, 4096U})
        if (has(head, {sector, "EFI PART"sv, ""})) return "a GPT";
    if (!has(head, {510, "\x55\xaa"sv, ""})) return std::nullopt;
    bool any = false;
    for (std::size_t entry = 446; entry < 510; entry += 16) {
        const auto status = static_cast<unsigned char>(head[entry]);
        if (status != 0 && status != 0x80) return std::nullopt;
        any = any || head[entry + 4] != 0;
    }
    if (!any) return std::nullopt;
    return "an MBR";
}

// A text of lines `key = "value"`, as VMware's other files are.
bool has_line_with(std::string_view head, std::string_view key) {
    for (std::size_t at = 0; at < head.size();) {
        const std::size_t end = std::min(head.find_first_of("\r\n", at), head.size());
        if (starts_with_ignoring_case(trim(head.substr(at, end - at)), key)) return true;
        at = end + 1;
    }
    return false;
}

std::optional<std::string> kind_of_text(std::string_view head) {
    if (head.starts_with("version https://git-lfs."))
        return "it is a pointer of Git LFS, and not the file itself (git lfs pull brings that)";
    if (has_line_with(head, "snapshot.lastUID") || has_line_with(head, "snapshot.numSnapshots"))
        return "it is a list of snapshots (.vmsd): name one of the .vmdk files that it names";
    if (has_line_with(head, "config.version") || has_line_with(head, "virtualHW.version"))
        return "it is the configuration of a virtual machine (.vmx): name one of the .vmdk files that it "
               "names";
    if (head.find("<Envelope") != std::string_view::npos ||
        head.find("<ovf:Envelope") != std::string_view::npos)
        return "it is the description of a virtual machine (.ovf): name one of the .vmdk files beside it";
    return std::nullopt;
}

}  // namespace

std::string describe_foreign_file(const File& file, const std::string& path,
                                  std::span<const std::byte> head_bytes) {
    const std::string_view head(reinterpret_cast<const char*>(head_bytes.data()), head_bytes.size());
    if (file.size() == Bytes(0)) return "it is empty (was it copied whole?)";
    if (const auto disk = name_of_disk(path))
        return concat("it looks like the data of an image, and not like its descriptor: name '", *disk,
                      ".vmdk', or whatever descriptor lies beside it");
    if (const Signature* found = found_in(other_formats, head))
        return concat("it is ", found->what, other_format);
    if (const Signature* found = found_in(packed, head)) return concat("it is ", found->what, unpack);
    if (const auto text = kind_of_text(head)) return *text;
    if (ends_as_vhd(file)) return concat("it is a VHD", other_format);
    if (const auto table = partition_table(head))
        return concat("it is a raw disk with ", *table,
                      ", and no VMDK (losetup --find --show --read-only --partscan shows it as a device)");
    return "it is not a VMDK descriptor (expected a text with a 'version' line)";
}

}  // namespace vmdkdm
