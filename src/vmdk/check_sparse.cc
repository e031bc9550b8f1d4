#include "vmdk/check_sparse.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/check_stream.h"
#include "vmdk/file_use.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

// A grain directory, and the words for it and for its tables.
struct Directory {
    Sectors start;
    FilePart part;
    FilePart table_part;
    std::string_view adjective;
    std::vector<std::uint32_t> entries = {};

    Bytes offset_of(std::size_t index) const { return to_bytes(start) + Bytes(4 * index); }
};

std::vector<TableOffset> offsets_of(const Directory& directory) {
    std::vector<TableOffset> offsets;
    offsets.reserve(directory.entries.size());
    for (const std::uint32_t sector : directory.entries)
        offsets.push_back(sector < 2 ? TableOffset() : TableOffset(std::uint64_t{sector} * sector_size));
    return offsets;
}

class SparseCheck : FileChecker {
  public:
    SparseCheck(const File& file, const SparseHeader& header, Findings& findings)
        : FileChecker(file, findings),
          header_(header),
          file_end_(whole_sectors(file.size())),
          lowest_grain_(lowest_grain(file, header)) {
        use_.set_size(FilePart::table, table_sectors());
        use_.set_size(FilePart::redundant_table, table_sectors());
        if (!header.compressed) use_.set_size(FilePart::grain, header.grain_size);
    }

    void run() {
        check_header();
        Directory primary{header_.directory, FilePart::directory, FilePart::table, ""};
        const bool has_primary = read_directory(primary);
        if (has_primary) check_grains(primary);
        if (has_redundant_directory()) {
            Directory redundant{header_.redundant_directory, FilePart::redundant_directory,
                                FilePart::redundant_table, "redundant "};
            if (read_directory(redundant) && has_primary) compare(primary, redundant);
        }
        if (header_.compressed) {
            check_compressed_grains(file_, header_, std::move(compressed_), use_, findings_);
            check_markers(file_, header_, use_, findings_);
        }
        use_.report_overlaps(file_, findings_.faults);
        if (!header_.compressed)
            use_.report_unused(file_, lowest_grain_, header_.grain_size, findings_.notes);
    }

  private:
    std::size_t table_bytes() const { return std::size_t{header_.entries_per_table} * 4; }
    Sectors table_sectors() const { return whole_sectors(Bytes(table_bytes() + sector_size - 1)); }

    // Some writers name the one directory twice.
    bool has_redundant_directory() const {
        return header_.redundant_tables && header_.redundant_directory != header_.directory;
    }

    void check_header() {
        constexpr Bytes at_version(4);
        constexpr Bytes at_descriptor(28);
        constexpr Bytes at_redundant(48);
        constexpr Bytes at_overhead(64);
        constexpr Bytes at_unclean(72);
        use_.add(FilePart::header, 0, Sectors(0), Sectors(1));
        if (!lies_inside(file_, header_.descriptor_offset, Bytes(0)) ||
            header_.descriptor_size > file_end_ - header_.descriptor_offset)
            fault(FindingKind::header, at_descriptor, "the descriptor does not lie inside the file");
        else if (header_.descriptor_offset > Sectors(0))
            use_.add(FilePart::descriptor, 0, header_.descriptor_offset, header_.descriptor_size);
        if (header_.overhead > file_end_)
            note(FindingKind::header, at_overhead, "the grains are said to begin at sector ",
                 header_.overhead.count(), ", beyond the end of the file");
        if (header_.version == 3 && !header_.compressed)
            note(FindingKind::header, at_version, "version 3: change tracking was on (it is not read)");
        if (header_.redundant_tables && !has_redundant_directory())
            note(FindingKind::redundant, at_redundant,
                 "the redundant grain directory is the grain directory itself: there is no copy of it");
        if (header_.unclean_shutdown)
            note(FindingKind::journal, at_unclean, "the file was not closed cleanly");
    }

    // Whether it lies inside the file.
    bool read_directory(Directory& directory) {
        const std::uint64_t count = directory_entries(header_);
        const Bytes at_field(directory.part == FilePart::directory ? 56 : 48);
        if (directory.start == Sectors(0) || directory.start > file_end_ ||
            count > (file_.size() - to_bytes(directory.start)).count() / 4) {
            fault(FindingKind::directory, at_field, "the ", directory.adjective, "grain directory (sector ",
                  directory.start.count(), ", ", count, " entries) does not lie inside the file");
            return false;
        }
        check_directory_length(file_, count);
        std::vector<std::byte> bytes(count * 4);
        file_.read_at(to_bytes(directory.start), bytes);
        directory.entries.reserve(count);
        for (std::size_t i = 0; i < count; ++i) directory.entries.push_back(load_le32(bytes, 4 * i));
        use_.add(directory.part, 0, directory.start, whole_sectors(Bytes(count * 4 + sector_size - 1)));
        check_entries(directory);
        return true;
    }

    void check_entries(const Directory& directory) {
        for (std::size_t i = 0; i < directory.entries.size(); ++i) {
            const Sectors sector(directory.entries[i]);
            if (sector == Sectors(0)) continue;
            if (sector == Sectors(1))
                fault(FindingKind::directory, directory.offset_of(i), directory.adjective, "grain table ", i,
                      " is said to be in sector 1, which no reader takes for a table");
            else if (!lies_inside(file_, sector, Bytes(table_bytes())))
                fault(FindingKind::directory, directory.offset_of(i), directory.adjective, "grain table ", i,
                      " lies at byte ", to_bytes(sector).count(), ", not inside the file");
            else
                use_.add(directory.table_part, i, sector, table_sectors());
        }
    }

    void check_grains(const Directory& directory) {
        const std::uint64_t grains =
            (header_.capacity.count() + header_.grain_size.count() - 1) / header_.grain_size.count();
        const std::vector<TableOffset> tables = offsets_of(directory);
        read_tables(file_, tables, table_bytes(), [&](std::size_t index, const ReadTable& table) {
            if (table.kind != ReadTable::Kind::read) return;
            const std::uint64_t first = std::uint64_t{index} * header_.entries_per_table;
            // What the last table says beyond the disk's end means nothing (6.5).
            const std::uint64_t count = std::min<std::uint64_t>(header_.entries_per_table, grains - first);
            for (std::uint64_t i = 0; i < count; ++i)
                if (const std::uint32_t entry = load_le32(table.bytes, 4 * i); entry != 0)
                    check_grain(first + i, entry, Bytes(*tables[index] + 4 * i));
        });
    }

    void check_grain(std::uint64_t number, std::uint32_t entry, Bytes offset) {
        if (entry == 1 && header_.zero_grains) return;
        const Sectors sector(entry);
        const Sectors inside_disk(std::min(header_.grain_size.count(),
                                           header_.capacity.count() - number * header_.grain_size.count()));
        if (entry == 1)
            fault(FindingKind::grain, offset, "grain ", number,
                  " is marked as zeros, but the header says that there are none such");
        else if (sector < lowest_grain_)
            fault(FindingKind::grain, offset, "grain ", number, " lies at byte ", to_bytes(sector).count(),
                  ", inside the metadata");
        else if (sector >= file_end_ && to_bytes(sector) >= file_.size())
            fault(FindingKind::grain, offset, "grain ", number, " lies at byte ", to_bytes(sector).count(),
                  ", beyond the end of the file");
        else if (!header_.compressed && (sector >= file_end_ || inside_disk > file_end_ - sector))
            fault(FindingKind::grain, offset, "grain ", number, " lies at byte ", to_bytes(sector).count(),
                  ", and the file ends inside it");
        else if (header_.compressed)
            compressed_.push_back({entry, number});
        else
            use_.add(FilePart::grain, number, sector, inside_disk);
    }

    // The tables lie in different places; what they say must be equal (6.5).
    void compare(const Directory& primary, const Directory& redundant) {
        const std::vector<std::size_t> first = hashes_of_tables(file_, offsets_of(primary), table_bytes());
        const std::vector<std::size_t> second = hashes_of_tables(file_, offsets_of(redundant), table_bytes());
        for (std::size_t i = 0; i < first.size(); ++i) {
            const bool has_first = primary.entries[i] != 0;
            const bool has_second = redundant.entries[i] != 0;
            if (has_first != has_second)
                fault(FindingKind::redundant, redundant.offset_of(i), "grain table ", i, " is in the ",
                      has_first ? "grain directory, but not in the redundant one"
                                : "redundant grain directory only");
            else if (first[i] != second[i] && !findings_.faults.is_full(FindingKind::redundant))
                compare_tables(i, primary, redundant);
            else if (first[i] != second[i])
                findings_.faults.add(FindingKind::redundant, file_.path(), redundant.offset_of(i),
                                     [] { return std::string(); });  // counted only
        }
    }

    // Names the first entry that differs. A table that cannot be read has had its own fault.
    void compare_tables(std::size_t index, const Directory& primary, const Directory& redundant) {
        const std::optional<std::vector<std::byte>> first = read_table(primary.entries[index]);
        const std::optional<std::vector<std::byte>> second = read_table(redundant.entries[index]);
        if (!first || !second) return;
        const auto [a, b] = std::mismatch(first->begin(), first->end(), second->begin());
        if (a == first->end()) return;
        const std::size_t entry = static_cast<std::size_t>(a - first->begin()) / 4;
        fault(FindingKind::redundant, to_bytes(Sectors(redundant.entries[index])) + Bytes(4 * entry),
              "of grain ", std::uint64_t{index} * header_.entries_per_table + entry, " the grain table says ",
              load_le32(*first, 4 * entry), ", its redundant copy ", load_le32(*second, 4 * entry));
    }

    std::optional<std::vector<std::byte>> read_table(std::uint32_t sector) const {
        if (!lies_inside(file_, Sectors(sector), Bytes(table_bytes()))) return std::nullopt;
        std::vector<std::byte> bytes(table_bytes());
        file_.read_at(to_bytes(Sectors(sector)), bytes);
        return bytes;
    }

    const SparseHeader& header_;
    Sectors file_end_;
    Sectors lowest_grain_;
    FileUse use_;
    std::vector<CompressedGrain> compressed_;
};

}  // namespace

void check_sparse_extent(const File& file, const SparseHeader& header, Findings& findings) {
    SparseCheck(file, header, findings).run();
}

}  // namespace vmdkdm
