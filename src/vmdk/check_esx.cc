#include "vmdk/check_esx.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/file_use.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

// What both kinds have in common.
class EsxCheck : protected FileChecker {
  protected:
    EsxCheck(const File& file, Sectors capacity, Sectors grain_size, Findings& findings)
        : FileChecker(file, findings),
          file_end_(whole_sectors(file.size())),
          capacity_(capacity),
          grain_size_(grain_size) {
        use_.set_size(FilePart::grain, grain_size);
    }

    std::uint64_t grains() const {
        return (capacity_.count() + grain_size_.count() - 1) / grain_size_.count();
    }

    // A grain in `sector`, which may end where the disk does.
    void take_grain(std::uint64_t number, Sectors sector, Bytes entry_offset) {
        const Sectors needed(std::min(grain_size_.count(), capacity_.count() - number * grain_size_.count()));
        if (sector >= file_end_ || needed > file_end_ - sector)
            fault(FindingKind::grain, entry_offset, "grain ", number, " lies in sector ", sector.count(),
                  sector >= file_end_ ? ", beyond the end of the file" : ", and the file ends inside it");
        else
            use_.add(FilePart::grain, number, sector, needed);
    }

    Sectors file_end_;
    Sectors capacity_;
    Sectors grain_size_;
    FileUse use_;
};

class CowdCheck : EsxCheck {
  public:
    CowdCheck(const File& file, const CowdHeader& header, Findings& findings)
        : EsxCheck(file, header.capacity, header.grain_size, findings), header_(header) {
        use_.set_size(FilePart::table, table_sectors);
    }

    void run() {
        constexpr Bytes at_end(28);
        constexpr Bytes at_unclean(1648);
        use_.add(FilePart::header, 0, Sectors(0), cowd_header_end);
        if (header_.end > whole_sectors(file_.size() + Bytes(sector_size - 1)))
            fault(FindingKind::truncated, at_end, "the file is cut short: it has ", file_.size().count(),
                  " bytes, its header says ", to_bytes(header_.end).count());
        if (header_.unclean_shutdown)
            note(FindingKind::journal, at_unclean, "the file was not closed cleanly");
        directory_ = read_cowd_directory(file_, header_);
        data_start_ = cowd_data_start(header_, directory_.size());
        use_.add(FilePart::directory, 0, header_.directory,
                 whole_sectors(Bytes(directory_.size() * 4 + sector_size - 1)));
        check_tables();
        if (zero_grains_ > 0)
            note(FindingKind::grain, to_bytes(header_.directory), zero_grains_,
                 " grains are marked 1, which is read as zeros");
        use_.report_overlaps(file_, findings_.faults);
        use_.report_unused(file_, data_start_, grain_size_, findings_.notes);
    }

  private:
    static constexpr Sectors table_sectors{cowd_table_bytes / sector_size};

    void check_tables() {
        std::vector<TableOffset> tables(directory_.size());
        for (std::size_t i = 0; i < directory_.size(); ++i) {
            const Sectors sector(directory_[i]);
            if (sector == Sectors(0)) continue;
            const Bytes offset = to_bytes(header_.directory) + Bytes(4 * i);
            if (sector < data_start_ || !lies_inside(file_, sector, Bytes(cowd_table_bytes)))
                fault(FindingKind::directory, offset, "grain table ", i, " lies in sector ", sector.count(),
                      sector < data_start_ ? ", inside the metadata" : ", not inside the file");
            else
                tables[i] = to_bytes(sector).count();
            if (tables[i]) use_.add(FilePart::table, i, sector, table_sectors);
        }
        read_tables(file_, tables, cowd_table_bytes, [&](std::size_t index, const ReadTable& table) {
            if (table.kind == ReadTable::Kind::read) check_table(index, Bytes(*tables[index]), table.bytes);
        });
    }

    void check_table(std::size_t index, Bytes start, std::span<const std::byte> bytes) {
        const std::uint64_t first = std::uint64_t{index} * cowd_entries_per_table;
        const std::uint64_t count = std::min<std::uint64_t>(cowd_entries_per_table, grains() - first);
        for (std::uint64_t i = 0; i < count; ++i) {
            const Sectors sector(load_le32(bytes, 4 * i));
            if (sector == Sectors(0)) continue;
            if (sector == Sectors(1))
                ++zero_grains_;
            else if (sector < data_start_)
                fault(FindingKind::grain, start + Bytes(4 * i), "grain ", first + i, " lies in sector ",
                      sector.count(), ", inside the metadata");
            else
                take_grain(first + i, sector, start + Bytes(4 * i));
        }
    }

    const CowdHeader& header_;
    std::vector<std::uint32_t> directory_;
    Sectors data_start_;
    std::uint64_t zero_grains_ = 0;
};

// Grains that are in use by no table are no finding here: the region of grains is allocated ahead, and the
// guest's UNMAP leaves holes in it.
class SeSparseCheck : EsxCheck {
  public:
    SeSparseCheck(const File& file, const SeSparseHeader& header, Findings& findings)
        : EsxCheck(file, header.capacity, se_sparse_grain, findings), header_(header) {
        use_.set_size(FilePart::table, Sectors(se_sparse_table_sectors));
    }

    void run() {
        use_.add(FilePart::header, 0, Sectors(0), Sectors(1));
        check_journal();
        directory_ = read_se_sparse_directory(file_, header_);
        use_.add(FilePart::directory, 0, header_.directory,
                 whole_sectors(Bytes(directory_.size() * 8 + sector_size - 1)));
        check_tables();
        use_.report_overlaps(file_, findings_.faults);
    }

  private:
    void check_journal() {
        try {
            refuse_dirty_se_sparse_journal(file_, header_);
            use_.add(FilePart::volatile_header, 0, header_.volatile_header, Sectors(1));
        } catch (const Error& error) {
            const bool lies_in_file = lies_inside(file_, header_.volatile_header, Bytes(0));
            fault(FindingKind::journal, lies_in_file ? to_bytes(header_.volatile_header) : Bytes(80),
                  text_about(file_, error));
        }
    }

    void check_tables() {
        std::vector<TableOffset> tables(directory_.size());
        for (std::size_t i = 0; i < directory_.size(); ++i) {
            if (directory_[i] == 0) continue;
            const Bytes offset = to_bytes(header_.directory) + Bytes(8 * i);
            const TableOffset table = se_sparse_table_offset(file_, header_, directory_[i]);
            if (!table) {
                fault(FindingKind::directory, offset, "the entry of grain table ", i, " is damaged");
                continue;
            }
            tables[i] = table;
            const Sectors sector = whole_sectors(Bytes(*table));
            if (!lies_inside(file_, sector, Bytes(se_sparse_table_bytes)))
                fault(FindingKind::directory, offset, "grain table ", i, " lies at byte ", *table,
                      ", not inside the file");
            else
                use_.add(FilePart::table, i, sector, Sectors(se_sparse_table_sectors));
        }
        read_tables(file_, tables, se_sparse_table_bytes, [&](std::size_t index, const ReadTable& table) {
            if (table.kind == ReadTable::Kind::read) check_table(index, Bytes(*tables[index]), table.bytes);
        });
    }

    void check_table(std::size_t index, Bytes start, std::span<const std::byte> bytes) {
        const std::uint64_t first = std::uint64_t{index} * se_sparse_entries_per_table;
        const std::uint64_t count = std::min<std::uint64_t>(se_sparse_entries_per_table, grains() - first);
        for (std::uint64_t i = 0; i < count; ++i) {
            const SeSparseEntry entry = decode_se_sparse_entry(load_le64(bytes, 8 * i));
            const Bytes offset = start + Bytes(8 * i);
            if (entry.kind == SeSparseEntry::Kind::damaged)
                fault(FindingKind::grain, offset, "the entry of grain ", first + i, " is damaged");
            else if (entry.kind != SeSparseEntry::Kind::stored)
                continue;
            else if (entry.number >= header_.grains_size.count() / se_sparse_grain.count())
                fault(FindingKind::grain, offset, "grain ", first + i, " is number ", entry.number,
                      " of the file, which has room for ",
                      header_.grains_size.count() / se_sparse_grain.count());
            else
                take_grain(first + i, header_.grains + Sectors(entry.number * se_sparse_grain.count()),
                           offset);
        }
    }

    const SeSparseHeader& header_;
    std::vector<std::uint64_t> directory_;
};

}  // namespace

void check_cowd_extent(const File& file, const CowdHeader& header, Findings& findings) {
    CowdCheck(file, header, findings).run();
}

void check_se_sparse_extent(const File& file, const SeSparseHeader& header, Findings& findings) {
    SeSparseCheck(file, header, findings).run();
}

}  // namespace vmdkdm
