#include "vmdk/cowd.h"

#include <array>
#include <bit>
#include <span>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

constexpr std::uint32_t magic = 0x44574f43;  // "COWD"
constexpr std::size_t header_bytes = cowd_header_end.count() * sector_size;
constexpr std::uint32_t max_grain_size = 2048;

void take_table(GrainRuns& runs, std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < cowd_entries_per_table; ++i) {
        const std::uint32_t entry = load_le32(bytes, 4 * i);
        // 1 is a zero grain to the readers that are used on live ESXi data; sector 1 is inside the header and
        // could never be one (8.2).
        if (entry == 0)
            runs.unallocated(1);
        else if (entry == 1)
            runs.zero(1);
        else
            runs.stored(entry, 1);
    }
}

}  // namespace

CowdHeader read_cowd_header(const File& file) {
    if (file.size() < Bytes(header_bytes))
        refuse(file, "the file is shorter than an ESX sparse extent's header");
    std::array<std::byte, header_bytes> bytes{};
    file.read_at(Bytes(0), bytes);
    const auto word = [&bytes](std::size_t offset) { return load_le32(bytes, offset); };
    if (word(0) != magic) refuse(file, "not an ESX sparse extent (COWD)");
    if (word(4) != 1) refuse(file, concat("ESX sparse extent of version ", word(4), " (expected 1)"));
    CowdHeader header;
    header.capacity = Sectors(word(12));
    header.grain_size = Sectors(word(16));
    header.directory = Sectors(word(20));
    header.directory_entries = word(24);
    header.end = Sectors(word(28));
    header.unclean_shutdown = word(1648) != 0;
    if (header.grain_size == Sectors(0) || header.grain_size > Sectors(max_grain_size) ||
        !std::has_single_bit(header.grain_size.count()))
        refuse(file, concat("grain size of ", header.grain_size.count(),
                            " sectors (expected a power of two up to ", max_grain_size, ")"));
    return header;
}

std::vector<std::uint32_t> read_cowd_directory(const File& file, const CowdHeader& header) {
    const std::uint64_t coverage = header.grain_size.count() * cowd_entries_per_table;
    const std::uint64_t needed = (header.capacity.count() + coverage - 1) / coverage;
    if (header.directory_entries < needed)
        refuse(file,
               concat("the grain directory has ", header.directory_entries, " entries, expected ", needed));
    if (header.directory < cowd_header_end || !lies_inside(file, header.directory, Bytes(needed * 4)))
        refuse(file, "the grain directory does not lie inside the file");
    check_directory_length(file, needed);
    std::vector<std::byte> bytes(needed * 4);
    file.read_at(to_bytes(header.directory), bytes);
    std::vector<std::uint32_t> directory;
    for (std::size_t i = 0; i < needed; ++i) directory.push_back(load_le32(bytes, 4 * i));
    return directory;
}

Sectors cowd_data_start(const CowdHeader& header, std::size_t directory_entries) {
    // The directory follows the header in every known file; the tables lie among the grains.
    return header.directory == cowd_header_end
               ? cowd_header_end + whole_sectors(Bytes(directory_entries * 4 + sector_size - 1))
               : cowd_header_end;
}

void append_cowd_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                        std::vector<std::string>& notes) {
    const CowdHeader header = read_cowd_header(*file);
    check_capacity(*file, header.capacity, size, notes);
    if (to_bytes(header.end) > file->size())
        notes.push_back(concat("'", file->path(), "' is cut short: ", file->size().count(),
                               " bytes, its header says ", to_bytes(header.end).count()));
    const std::vector<std::uint32_t> directory = read_cowd_directory(*file, header);
    std::vector<TableOffset> tables;
    tables.reserve(directory.size());
    for (const std::uint32_t sector : directory)
        tables.push_back(sector == 0 ? TableOffset() : TableOffset(std::uint64_t{sector} * sector_size));

    const Sectors data_start = cowd_data_start(header, directory.size());
    GrainRuns runs(layer, {file, depth, size, header.grain_size, data_start});
    read_tables(*file, tables, cowd_table_bytes, [&](std::size_t index, const ReadTable& table) {
        const bool is_readable =
            table.kind != ReadTable::Kind::unreadable && directory[index] >= data_start.count();
        if (!tables[index] || (is_readable && table.kind == ReadTable::Kind::zeros))
            runs.unallocated(cowd_entries_per_table);
        else if (!is_readable)
            runs.damaged(cowd_entries_per_table, misplaced_table);
        else
            take_table(runs, table.bytes);
    });
    runs.finish();
}

}  // namespace vmdkdm
