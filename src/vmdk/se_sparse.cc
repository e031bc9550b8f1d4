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

// Sectors of the disk that a table covers.
constexpr std::uint64_t coverage = se_sparse_entries_per_table * se_sparse_grain.count();

// Upper half of a directory entry whose table exists (9.3).
constexpr std::uint64_t table_exists = 0x10000000;

bool is_zero(std::span<const std::byte> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

class SeSparseReader {
  public:
    SeSparseReader(Layer::Builder& layer, const FilePtr& file, const SeSparseHeader& header, Sectors size,
                   std::uint32_t depth)
        : file_(file), header_(header), runs_(layer, {file, depth, size, se_sparse_grain, header.grains}) {}

    void read() {
        const std::vector<std::uint64_t> directory = read_se_sparse_directory(*file_, header_);
        std::vector<TableOffset> tables;
        tables.reserve(directory.size());
        for (const std::uint64_t entry : directory)
            tables.push_back(se_sparse_table_offset(*file_, header_, entry));
        read_tables(*file_, tables, se_sparse_table_bytes, [&](std::size_t index, const ReadTable& table) {
            if (directory[index] == 0 || table.kind == ReadTable::Kind::zeros)
                runs_.unallocated(se_sparse_entries_per_table);
            else if (table.kind == ReadTable::Kind::unreadable)
                runs_.damaged(se_sparse_entries_per_table,
                              tables[index] ? misplaced_table : "a grain directory entry is damaged");
            else
                for (std::size_t i = 0; i < se_sparse_entries_per_table; ++i)
                    take_grain(load_le64(table.bytes, 8 * i));
        });
        runs_.finish();
    }

  private:
    void take_grain(std::uint64_t entry) {
        const SeSparseEntry grain = decode_se_sparse_entry(entry);
        switch (grain.kind) {
            case SeSparseEntry::Kind::unallocated:
                return runs_.unallocated(1);
            case SeSparseEntry::Kind::unmapped:
            case SeSparseEntry::Kind::zero:
                return runs_.zero(1);
            case SeSparseEntry::Kind::damaged:
                return runs_.damaged(1, "a grain table entry is damaged");
            case SeSparseEntry::Kind::stored:
                break;
        }
        if (grain.number >= header_.grains_size.count() / se_sparse_grain.count())
            runs_.damaged(1, "a grain lies beyond the grains of the file");
        else
            runs_.stored(header_.grains.count() + grain.number * se_sparse_grain.count(), 1);
    }

    FilePtr file_;
    const SeSparseHeader& header_;
    GrainRuns runs_;
};

}  // namespace

// The constant header (9.1).
SeSparseHeader read_se_sparse_header(const File& file) {
    if (file.size() < Bytes(sector_size))
        refuse(file, "the file is shorter than an seSparse extent's header");
    std::array<std::byte, sector_size> bytes{};
    file.read_at(Bytes(0), bytes);
    const auto field = [&bytes](std::size_t offset) { return load_le64(bytes, offset); };
    if (field(0) != constant_magic) refuse(file, "not an seSparse extent");
    if (field(8) != known_version)
        refuse(file, "seSparse extent of a version that is not known (expected 2.1)");
    if (field(24) != se_sparse_grain.count() || field(32) != se_sparse_table_sectors)
        refuse(file,
               concat("seSparse extent with grains of ", field(24), " and tables of ", field(32),
                      " sectors (expected ", se_sparse_grain.count(), " and ", se_sparse_table_sectors, ")"));
    if (!is_zero(std::span(bytes).subspan(40, 40)) || !is_zero(std::span(bytes).subspan(208)))
        refuse(file, "seSparse extent with flags or fields that are not known");
    if (field(16) > max_capacity.count())
        refuse(file, concat("impossible capacity of ", field(16), " sectors"));
    if (field(192) > max_capacity.count())
        refuse(file, concat("its grains are said to begin at sector ", field(192)));
    SeSparseHeader header;
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
void refuse_dirty_se_sparse_journal(const File& file, const SeSparseHeader& header) {
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

std::vector<std::uint64_t> read_se_sparse_directory(const File& file, const SeSparseHeader& header) {
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

TableOffset se_sparse_table_offset(const File& file, const SeSparseHeader& header, std::uint64_t entry) {
    if (entry >> 32 != table_exists) return std::nullopt;
    const std::uint64_t sector = (entry & 0xffffffff) * se_sparse_table_sectors;
    if (sector + se_sparse_table_sectors > header.tables_size.count() ||
        !lies_inside(file, header.tables, Bytes(0)))
        return std::nullopt;
    return to_bytes(header.tables + Sectors(sector)).count();
}

SeSparseEntry decode_se_sparse_entry(std::uint64_t entry) {
    using Kind = SeSparseEntry::Kind;
    // The grain's number is stored with its low 12 bits on top.
    const std::uint64_t number = ((entry >> 48) & 0xfff) | (entry & 0x0000ffffffffffff) << 12;
    switch (entry >> 60) {
        case 0:
            return {entry == 0 ? Kind::unallocated : Kind::damaged, 0};
        case 1:
            return {Kind::unmapped, number};
        case 2:
            return {Kind::zero, 0};
        case 3:
            return {Kind::stored, number};
        default:
            return {Kind::damaged, 0};
    }
}

void append_se_sparse_extent(Layer::Builder& layer, const FilePtr& file, Sectors size, std::uint32_t depth,
                             std::vector<std::string>& notes) {
    const SeSparseHeader header = read_se_sparse_header(*file);
    check_capacity(*file, header.capacity, size, notes);
    refuse_dirty_se_sparse_journal(*file, header);
    SeSparseReader(layer, file, header, size, depth).read();
}

}  // namespace vmdkdm
