#include "vmdk/se_sparse.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

constexpr std::uint64_t constant_magic = 0x00000000cafebabe;
constexpr std::uint64_t volatile_magic = 0x00000000cafecafe;
constexpr std::uint64_t known_version = 0x0000000200000001;  // 2.1
constexpr std::uint64_t grain_sectors = 8;
constexpr std::uint64_t table_sectors = 64;
constexpr std::size_t table_bytes = table_sectors * sector_size;
constexpr std::size_t entries_per_table = table_bytes / 8;
constexpr std::uint64_t coverage =
    entries_per_table * grain_sectors;  // sectors of the disk that a table covers

// Upper half of a directory entry whose table exists (9.3).
constexpr std::uint64_t table_exists = 0x10000000;

struct Header {
    Sectors capacity;
    Sectors volatile_header;
    Sectors directory;
    Sectors directory_size;
    Sectors tables;
    Sectors tables_size;
    Sectors grains;
    Sectors grains_size;
};

bool is_zero(std::span<const std::byte> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

// The constant header (9.1).
Header read_header(const File& file) {
    if (file.size() < Bytes(sector_size))
        refuse(file, "the file is shorter than an seSparse extent's header");
    std::array<std::byte, sector_size> bytes{};
    file.read_at(Bytes(0), bytes);
    const auto field = [&bytes](std::size_t offset) { return load_le64(bytes, offset); };
    if (field(0) != constant_magic) refuse(file, "not an seSparse extent");
    if (field(8) != known_version)
        refuse(file, "seSparse extent of a version that is not known (expected 2.1)");
    if (field(24) != grain_sectors || field(32) != table_sectors)
        refuse(file, concat("seSparse extent with grains of ", field(24), " and tables of ", field(32),
                            " sectors (expected ", grain_sectors, " and ", table_sectors, ")"));
    if (!is_zero(std::span(bytes).subspan(40, 40)) || !is_zero(std::span(bytes).subspan(208)))
        refuse(file, "seSparse extent with flags or fields that are not known");
    if (field(16) > max_capacity.count())
        refuse(file, concat("impossible capacity of ", field(16), " sectors"));
    if (field(192) > max_capacity.count())
        refuse(file, concat("its grains are said to begin at sector ", field(192)));
    Header header;
    header.capacity = Sectors(field(16));
    header.volatile_header = Sectors(field(80));
    header.directory = Sectors(field(128));
    header.directory_size = Sectors(field(136));
    header.tables = Sectors(field(144));
    header.tables_size = Sectors(field(152));
    header.grains = Sectors(field(192));
    header.grains_size = Sectors(field(200));
    return header;
}

// The volatile header (9.2) says whether the journal holds what the tables do not.
void refuse_dirty_journal(const File& file, const Header& header) {
    if (!lies_inside(file, header.volatile_header, Bytes(sector_size)))
        refuse(file, "the volatile header does not lie inside the file");
    std::array<std::byte, sector_size> bytes{};
    file.read_at(to_bytes(header.volatile_header), bytes);
    if (load_le64(bytes, 0) != volatile_magic) refuse(file, "the volatile header is damaged");
    if (load_le64(bytes, 24) != 0)
        refuse(file,
               "its journal holds changes that are not in its tables yet (power the machine on and off, or "
               "consolidate its snapshots, on ESXi first)");
    if (!is_zero(std::span(bytes).subspan(32)))
        refuse(file, "the volatile header has fields that are not known");
}

std::vector<std::uint64_t> read_directory(const File& file, const Header& header) {
    const std::uint64_t needed = (header.capacity.count() + coverage - 1) / coverage;
    const Bytes length(checked_multiply(needed, 8));
    if (header.directory == Sectors(0) ||
        header.directory_size < whole_sectors(length + Bytes(sector_size - 1)) ||
        !lies_inside(file, header.directory, length))
        refuse(file, "the grain directory does not lie inside the file");
    check_directory_length(file, needed);
    std::vector<std::byte> bytes(needed * 8);
    file.read_at(to_bytes(header.directory), bytes);
    std::vector<std::uint64_t> directory;
    for (std::size_t i = 0; i < needed; ++i) directory.push_back(load_le64(bytes, 8 * i));
    return directory;
}

class SeSparseReader {
  public:
    SeSparseReader(Layer::Builder& layer, const FilePtr& file, const Header& header, Sectors size,
                   std::uint32_t depth)
        : file_(file),
          header_(header),
          runs_(layer, {file, depth, size, Sectors(grain_sectors), header.grains}) {}

    void read() {
        const std::vector<std::uint64_t> directory = read_directory(*file_, header_);
        std::vector<TableOffset> tables;
        for (const std::uint64_t entry : directory) tables.push_back(table_offset(entry));
        read_tables(*file_, tables, table_bytes, [&](std::size_t index, std::span<const std::byte> bytes) {
            if (directory[index] == 0)
                runs_.unallocated(entries_per_table);
            else if (bytes.empty())
                runs_.damaged(entries_per_table,
                              tables[index] ? misplaced_table : "a grain directory entry is damaged");
            else
                for (std::size_t i = 0; i < entries_per_table; ++i) take_grain(load_le64(bytes, 8 * i));
        });
        runs_.finish();
    }

  private:
    TableOffset table_offset(std::uint64_t entry) const {
        if (entry >> 32 != table_exists) return std::nullopt;
        const std::uint64_t sector = (entry & 0xffffffff) * table_sectors;
        if (sector + table_sectors > header_.tables_size.count() ||
            !lies_inside(*file_, header_.tables, Bytes(0)))
            return std::nullopt;
        return to_bytes(header_.tables + Sectors(sector)).count();
    }

    // The type is in the top nibble (9.4).
    void take_grain(std::uint64_t entry) {
        switch (entry >> 60) {
            case 0:
                return entry == 0 ? runs_.unallocated(1) : runs_.damaged(1, "a grain table entry is damaged");
            case 1:  // unmapped by the guest
            case 2:
                return runs_.zero(1);
            case 3:
                break;
            default:
                return runs_.damaged(1, "a grain table entry is damaged");
        }
        // The grain's number is stored with its low 12 bits on top.
        const std::uint64_t number = ((entry >> 48) & 0xfff) | (entry & 0x0000ffffffffffff) << 12;
        if (number >= header_.grains_size.count() / grain_sectors)
            runs_.damaged(1, "a grain lies beyond the grains of the file");
        else
            runs_.stored(header_.grains.count() + number * grain_sectors, 1);
    }

    FilePtr file_;
    const Header& header_;
    GrainRuns runs_;
};

}  // namespace

void append_se_sparse_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                             std::vector<std::string>& notes) {
    const Header header = read_header(*file);
    check_capacity(*file, header.capacity, size, notes);
    refuse_dirty_journal(*file, header);
    SeSparseReader(layer, file, header, size, depth).read();
}

}  // namespace vmdkdm
