#include "vmdk/delta_writer.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/concat.h"
#include "base/error.h"
#include "base/text_cursor.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;
using Put = std::function<void(Bytes offset, std::span<const std::byte> bytes)>;

constexpr std::uint32_t magic = 0x564d444b;  // "KDMV"
// Zeroed-grain entries (version 2) would save the room of a grain, but VirtualBox refuses that version and
// libvmdk takes the entry for data; a grain of zeros is a hole of our file instead (6.2, 6.5).
constexpr std::uint32_t version = 1;
constexpr std::uint32_t flags = 0x3;  // newline test, redundant tables
constexpr std::uint32_t newline_test = 0x0a0d200a;

constexpr std::uint32_t entries_per_table = 512;
constexpr Sectors table_size{entries_per_table * 4 / sector_size};
constexpr Sectors coverage{entries_per_table * 128};  // of a table, of the disk
static_assert(coverage.count() == entries_per_table * delta_grain.count());

// qemu reads the descriptor at sector 1, and 20 sectors of it (6.7).
constexpr Sectors descriptor_offset{1};
constexpr Sectors descriptor_size{20};

// A table's entry is a sector of 32 bits (6.5).
constexpr std::uint64_t most_sectors = std::uint64_t{1} << 32;

void store_le(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i)
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// As parse_descriptor() would have it, of the name on the extent line.
bool can_be_quoted(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](char c) { return c == '"' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// The keys and values that hardware has; nothing that another reader could stumble over.
bool is_plain(std::string_view text, std::string_view marks) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9') || marks.find(c) != std::string_view::npos;
    });
}

// A key ends at the first blank. I/O filters have seen none of the delta's bytes.
bool can_be_written(const KeyValue& entry) {
    return is_plain(entry.first, "-._") && is_plain(entry.second, " -._") &&
           !equal_ignoring_case(entry.first, "iofilters");
}

}  // namespace

std::string print_delta_descriptor(const DeltaDescriptor& descriptor) {
    if (descriptor.parent_cid == no_parent)
        throw Error(ErrorKind::refused,
                    "the image's CID is ffffffff, which no delta can name as its parent (see --format raw)");
    for (const std::string* name : {&descriptor.parent_hint, &descriptor.file_name})
        if (!can_be_quoted(*name))
            throw Error(ErrorKind::refused, concat("a VMDK descriptor cannot say the name '",
                                                   printable(*name), "' (see --format raw)"));
    // The comments are section marks for libvmdk and VirtualBox (1.1), and no blank line comes before an
    // extent: qemu 7.2 would count that extent twice (15, 31).
    std::string text =
        concat("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=", to_string(descriptor.cid),
               "\nparentCID=", to_string(descriptor.parent_cid),
               "\ncreateType=\"monolithicSparse\"\nparentFileNameHint=\"", descriptor.parent_hint,
               "\"\n# Extent description\nRW ", descriptor.capacity.count(), " SPARSE \"",
               descriptor.file_name, "\"\n\n# The Disk Data Base\n#DDB\n\n");
    for (const KeyValue& entry : descriptor.ddb)
        if (can_be_written(entry)) append_parts(text, "ddb.", entry.first, " = \"", entry.second, "\"\n");
    return text;
}

std::string parent_hint(const std::string& parent, const std::string& delta) {
    const fs::path directory = fs::path(delta).parent_path();
    const fs::path relative = fs::path(parent).lexically_relative(directory);
    // One that climbs to the root says no more than the absolute path, and breaks when either is moved.
    const auto steps = std::count(relative.begin(), relative.end(), fs::path(".."));
    const auto depth = std::distance(directory.begin(), directory.end()) - 1;
    if (steps > 0 && steps >= depth) return parent;
    // qemu takes "a:b" for a protocol, VMware "[a] b" for a datastore.
    const std::string hint = relative.string();
    const std::size_t mark = hint.find_first_of(":/");
    const bool mistakable = hint.starts_with('[') || (mark != std::string::npos && hint[mark] == ':');
    return mistakable ? "./" + hint : hint;
}

DeltaExtent::DeltaExtent(Sectors capacity, const std::vector<GrainRange>& grains) : capacity_(capacity) {
    for (const GrainRange& range : grains) {
        placed_.push_back({range, grain_count_});
        grain_count_ += range.count;
    }
    if (whole_sectors(size()).count() > most_sectors)
        throw Error(ErrorKind::refused,
                    concat("the changes would make a VMDK delta of ", size().count(),
                           " bytes, and 2 TiB is all that its tables can say (see --format raw)"));
}

std::uint64_t DeltaExtent::table_count() const {
    return round_up(capacity_.count(), coverage.count()) / coverage.count();
}
Sectors DeltaExtent::directory_size() const {
    return Sectors(round_up(table_count() * 4, sector_size) / sector_size);
}
Sectors DeltaExtent::tables_size() const {
    return Sectors(checked_multiply(table_count(), table_size.count()));
}
Sectors DeltaExtent::redundant_directory() const { return descriptor_offset + descriptor_size; }
Sectors DeltaExtent::directory() const { return redundant_directory() + directory_size() + tables_size(); }
Sectors DeltaExtent::overhead() const {
    return Sectors(round_up((directory() + directory_size() + tables_size()).count(), delta_grain.count()));
}

Bytes DeltaExtent::size() const {
    return to_bytes(overhead() + Sectors(checked_multiply(grain_count_, delta_grain.count())));
}

Sectors DeltaExtent::place_of(Sectors sector) const {
    const std::uint64_t grain = sector.count() / delta_grain.count();
    const auto after =
        std::upper_bound(placed_.begin(), placed_.end(), grain,
                         [](std::uint64_t at, const Placed& each) { return at < each.grains.first; });
    if (after == placed_.begin() || grain - std::prev(after)->grains.first >= std::prev(after)->grains.count)
        throw std::logic_error("a sector that is in no grain of the delta");
    const Placed& placed = *std::prev(after);
    return overhead() + Sectors((placed.before + grain - placed.grains.first) * delta_grain.count() +
                                sector.count() % delta_grain.count());
}

void DeltaExtent::write(const std::string& descriptor, const Put& put) const {
    if (Bytes(descriptor.size()) > to_bytes(descriptor_size))
        throw Error(ErrorKind::refused,
                    concat("the delta's descriptor has ", descriptor.size(), " bytes, of ",
                           to_bytes(descriptor_size).count(), " that it may have"));
    put(Bytes(0), header());
    put(to_bytes(descriptor_offset), std::as_bytes(std::span(descriptor)));
    put(to_bytes(redundant_directory()), directory_bytes(redundant_directory() + directory_size()));
    put(to_bytes(directory()), directory_bytes(directory() + directory_size()));
    write_tables(put);
}

// 6.1; the 64-bit fields are not aligned.
std::vector<std::byte> DeltaExtent::header() const {
    std::vector<std::byte> bytes(sector_size);
    store_le(bytes, 0, magic, 4);
    store_le(bytes, 4, version, 4);
    store_le(bytes, 8, flags, 4);
    store_le(bytes, 12, capacity_.count(), 8);
    store_le(bytes, 20, delta_grain.count(), 8);
    store_le(bytes, 28, descriptor_offset.count(), 8);
    store_le(bytes, 36, descriptor_size.count(), 8);
    store_le(bytes, 44, entries_per_table, 4);
    store_le(bytes, 48, redundant_directory().count(), 8);
    store_le(bytes, 56, directory().count(), 8);
    store_le(bytes, 64, overhead().count(), 8);
    store_le(bytes, 73, newline_test, 4);
    return bytes;
}

// VMware wants all tables of an ordinary sparse file to be there (6.5); those that stay empty are holes.
std::vector<std::byte> DeltaExtent::directory_bytes(Sectors first_table) const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(table_count() * 4));
    for (std::uint64_t table = 0; table < table_count(); ++table)
        store_le(bytes, static_cast<std::size_t>(table * 4), first_table.count() + table * table_size.count(),
                 4);
    return bytes;
}

void DeltaExtent::write_tables(const Put& put) const {
    std::vector<std::byte> table(to_bytes(table_size).count());
    std::uint64_t number = 0;
    bool in_use = false;
    const auto put_table = [&] {
        if (!in_use) return;
        for (const Sectors start : {redundant_directory(), directory()})
            put(to_bytes(start + directory_size() + Sectors(number * table_size.count())), table);
        std::fill(table.begin(), table.end(), std::byte{0});
        in_use = false;
    };
    for (const Placed& placed : placed_)
        for (std::uint64_t i = 0; i < placed.grains.count; ++i) {
            const std::uint64_t grain = placed.grains.first + i;
            if (grain / entries_per_table != number) put_table();
            number = grain / entries_per_table;
            in_use = true;
            store_le(table, grain % entries_per_table * 4,
                     overhead().count() + (placed.before + i) * delta_grain.count(), 4);
        }
    put_table();
}

}  // namespace vmdkdm
