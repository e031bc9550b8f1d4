#include "vmdk/sparse.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <tuple>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"
#include "vmdk/grain_tables.h"

namespace vmdkdm {
namespace {

constexpr std::uint32_t magic = 0x564d444b;  // "KDMV"
constexpr std::size_t header_bytes = 512;
constexpr std::size_t trailer_bytes = 3 * header_bytes;  // of a stream: marker, footer, end of stream

// Flags (6.3). The low half is compatible: unknown bits may be ignored; of the high half they may not.
constexpr std::uint32_t flag_newline_test = 0x1;
constexpr std::uint32_t flag_redundant_tables = 0x2;
constexpr std::uint32_t flag_zero_grains = 0x4;
constexpr std::uint32_t flag_compressed = 0x10000;
constexpr std::uint32_t flag_markers = 0x20000;
constexpr std::uint32_t incompatible_flags = 0xffff0000;

constexpr std::uint64_t directory_at_end = 0xffffffffffffffff;
constexpr std::uint32_t max_entries_per_table = 1 << 16;

constexpr std::uint32_t marker_end_of_stream = 0;
constexpr std::uint32_t marker_footer = 3;

// The header's fields at their offsets (6.1); the 64-bit ones are not aligned.
struct RawHeader {
    explicit RawHeader(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::uint32_t magic_number() const { return load_le32(bytes_, 0); }
    std::uint32_t version() const { return load_le32(bytes_, 4); }
    std::uint32_t flags() const { return load_le32(bytes_, 8); }
    std::uint64_t capacity() const { return load_le64(bytes_, 12); }
    std::uint64_t grain_size() const { return load_le64(bytes_, 20); }
    std::uint64_t descriptor_offset() const { return load_le64(bytes_, 28); }
    std::uint64_t descriptor_size() const { return load_le64(bytes_, 36); }
    std::uint32_t entries_per_table() const { return load_le32(bytes_, 44); }
    std::uint64_t redundant_directory() const { return load_le64(bytes_, 48); }
    std::uint64_t directory() const { return load_le64(bytes_, 56); }
    std::uint64_t overhead() const { return load_le64(bytes_, 64); }
    bool unclean_shutdown() const { return bytes_[72] != std::byte{0}; }
    bool newlines_intact() const {
        return load_le32(bytes_, 73) == 0x0a0d200a;  // \n, blank, \r, \n
    }
    bool newlines_missing() const { return load_le32(bytes_, 73) == 0; }
    std::uint32_t compress_algorithm() const { return load_le<std::uint16_t>(bytes_, 77); }

  private:
    std::span<const std::byte> bytes_;
};

class HeaderReader {
  public:
    explicit HeaderReader(const File& file) : file_(file) {}

    SparseHeader read() const {
        SparseHeader header = read_at(Bytes(0));
        if (header.directory == Sectors(directory_at_end)) take_footer(header);
        return header;
    }

    SparseHeader read_at(Bytes offset) const {
        if (offset > file_.size() || file_.size() - offset < Bytes(header_bytes))
            fail("the file is shorter than a sparse extent's header");
        std::array<std::byte, header_bytes> bytes{};
        file_.read_at(offset, bytes);
        return parse(RawHeader(bytes));
    }

  private:
    [[noreturn]] void fail(const std::string& what) const { refuse(file_, what); }

    SparseHeader parse(const RawHeader& raw) const {
        if (raw.magic_number() != magic) fail("not a VMDK sparse extent (encrypted or damaged?)");
        if (raw.version() < 1 || raw.version() > 3)
            fail(concat("sparse extent of version ", raw.version(), " (expected 1, 2 or 3)"));
        const std::uint32_t flags = raw.flags();
        if ((flags & incompatible_flags & ~(flag_compressed | flag_markers)) != 0)
            fail(concat("sparse extent with unknown flags 0x", to_hex(flags)));
        if ((flags & flag_newline_test) != 0 && !raw.newlines_intact())
            fail(
                raw.newlines_missing()
                    ? "the four bytes of its header that show whether line ends were converted are zeros: it "
                      "is damaged, or made by a program that does not know the format"
                    : "its line ends were converted, as by a transfer in text mode: the data is damaged");

        SparseHeader header;
        header.version = raw.version();
        header.redundant_tables = (flags & flag_redundant_tables) != 0;
        header.zero_grains = (flags & flag_zero_grains) != 0;
        header.compressed = (flags & flag_compressed) != 0;
        // Readers in the field disagree on every other combination (7.4), and no real file has one.
        if (((flags & flag_markers) != 0) != header.compressed ||
            raw.compress_algorithm() != (header.compressed ? 1U : 0U))
            fail(concat("compression that is not understood (flags 0x", to_hex(flags), ", algorithm ",
                        raw.compress_algorithm(), ")"));
        if (raw.capacity() > max_capacity.count())
            fail(concat("impossible capacity of ", raw.capacity(), " sectors"));
        header.capacity = Sectors(raw.capacity());
        if (raw.grain_size() < 8 || raw.grain_size() > 65536 || !std::has_single_bit(raw.grain_size()))
            fail(concat("grain size of ", raw.grain_size(),
                        " sectors (expected a power of two from 8 to 65536)"));
        header.grain_size = Sectors(raw.grain_size());
        if (raw.entries_per_table() == 0 || raw.entries_per_table() > max_entries_per_table)
            fail(concat("grain tables of ", raw.entries_per_table(), " entries (expected 1 to ",
                        max_entries_per_table, ")"));
        header.entries_per_table = raw.entries_per_table();
        header.descriptor_offset = Sectors(raw.descriptor_offset());
        header.descriptor_size = Sectors(raw.descriptor_offset() == 0 ? 0 : raw.descriptor_size());
        header.redundant_directory = Sectors(raw.redundant_directory());
        header.directory = Sectors(raw.directory());
        header.overhead = Sectors(raw.overhead());
        header.unclean_shutdown = raw.unclean_shutdown();
        return header;
    }

    // A second header in the last but one sector, between its marker and the end-of-stream marker (7.3). A
    // transfer may have added bytes behind, so it is looked for further up too (13.3).
    void take_footer(SparseHeader& header) const {
        constexpr std::uint64_t searched_sectors = 128;
        const Bytes size = file_.size();
        if (size < Bytes(trailer_bytes)) fail("cut short: the footer is missing");
        if (take_footer_at(header, size - Bytes(trailer_bytes))) return;
        const std::uint64_t last = whole_sectors(size).count() - trailer_bytes / sector_size;
        for (std::uint64_t back = 0; back <= std::min(last, searched_sectors); ++back)
            if (take_footer_at(header, to_bytes(Sectors(last - back)))) return;
        fail("cut short: the file does not end with a footer and an end-of-stream marker");
    }

    // Whether the three sectors of a stream's end are at `start`.
    bool take_footer_at(SparseHeader& header, Bytes start) const {
        std::array<std::byte, trailer_bytes> bytes{};
        file_.read_at(start, bytes);
        const std::span<const std::byte> all(bytes);
        const auto is_marker = [](std::span<const std::byte> marker, std::uint32_t type) {
            return load_le32(marker, 8) == 0 && load_le32(marker, 12) == type;
        };
        if (!is_marker(all, marker_footer) || load_le32(all, 512) != magic ||
            !is_marker(all.subspan(1024), marker_end_of_stream) || load_le64(all, 1024) != 0)
            return false;
        const SparseHeader footer = parse(RawHeader(all.subspan(512, 512)));
        if (footer.directory == Sectors(directory_at_end))
            fail("the footer does not say where the grain directory is");
        if (footer.capacity != header.capacity || footer.grain_size != header.grain_size ||
            footer.entries_per_table != header.entries_per_table)
            fail("header and footer differ");
        // What looks like a footer may be a guest's own data, where the true one is gone.
        const Bytes end = start + Bytes(trailer_bytes);
        if (end < file_.size() && footer.directory > whole_sectors(start)) return false;
        header.directory = footer.directory;
        header.stream_end = end;
        return true;
    }

    static std::string to_hex(std::uint32_t value) {
        std::ostringstream text;
        text << std::hex << value;
        return text.str();
    }

    const File& file_;
};

class SparseReader {
  public:
    SparseReader(Layer::Builder& layer, const FilePtr& file, const SparseHeader& header, Sectors size,
                 std::uint32_t depth, const SparseRules& rules, std::vector<std::string>& notes)
        : file_(file),
          header_(header),
          use_redundant_(rules.use_redundant && header.redundant_tables),
          notes_(notes),
          runs_(layer, {file, depth, size, header.grain_size, lowest_grain(*file, header), true,
                        header.compressed ? std::optional(header.capacity) : std::nullopt}) {}

    void read() {
        const std::vector<std::uint32_t> directory =
            read_directory(use_redundant_ ? header_.redundant_directory : header_.directory);
        if (use_redundant_)
            notes_.push_back(concat("'", file_->path(), "' is read through its redundant grain directory"));
        if (header_.unclean_shutdown) compare_with_redundant();
        const std::vector<TableOffset> tables = offsets_of(directory);
        entries_.resize(header_.entries_per_table);
        read_tables(*file_, tables, table_bytes(), [&](std::size_t index, const ReadTable& table) {
            const bool is_readable = table.kind != ReadTable::Kind::unreadable && directory[index] != 1;
            if (!tables[index] || (is_readable && table.kind == ReadTable::Kind::zeros))
                runs_.unallocated(header_.entries_per_table);
            else if (!is_readable)
                runs_.damaged(header_.entries_per_table, misplaced_table);
            else
                take_table(table.bytes);
        });
        runs_.finish();
        if (runs_.overlapping())
            notes_.push_back(concat("'", file_->path(), "': grains share sectors of the file"));
    }

  private:
    std::size_t table_bytes() const { return std::size_t{header_.entries_per_table} * 4; }

    std::vector<std::uint32_t> read_directory(Sectors offset) const {
        const std::uint64_t count = directory_entries(header_);
        if (offset == Sectors(0) || !lies_inside(*file_, offset, Bytes(checked_multiply(count, 4))))
            throw Error(ErrorKind::format,
                        concat("'", file_->path(), "': the grain directory does not lie inside the file",
                               header_.redundant_tables && !use_redundant_ ? " (see --use-redundant)" : ""));
        check_directory_length(*file_, count);
        std::vector<std::uint32_t> directory(count);
        file_->read_at(to_bytes(offset), std::as_writable_bytes(std::span(directory)));
        if constexpr (std::endian::native == std::endian::big)
            for (std::uint32_t& entry : directory) entry = __builtin_bswap32(entry);
        return directory;
    }

    // A crash between the two writes leaves the copies different; data is read through the primary one all
    // the same.
    void compare_with_redundant() {
        notes_.push_back(concat("'", file_->path(), "' was not closed cleanly"));
        if (!header_.redundant_tables || use_redundant_) return;
        try {
            if (hashes_of(read_directory(header_.directory)) !=
                hashes_of(read_directory(header_.redundant_directory)))
                notes_.push_back(concat("'", file_->path(),
                                        "': the grain directory and its redundant copy differ; "
                                        "the directory is read"));
        } catch (const Error&) {
            notes_.push_back(concat("'", file_->path(), "': the redundant grain directory cannot be read"));
        }
    }

    std::vector<std::size_t> hashes_of(const std::vector<std::uint32_t>& directory) const {
        return hashes_of_tables(*file_, offsets_of(directory), table_bytes());
    }

    static std::vector<TableOffset> offsets_of(const std::vector<std::uint32_t>& directory) {
        std::vector<TableOffset> offsets;
        offsets.reserve(directory.size());
        for (const std::uint32_t sector : directory)
            offsets.push_back(sector == 0 ? TableOffset() : TableOffset(std::uint64_t{sector} * sector_size));
        return offsets;
    }

    void take_table(std::span<const std::byte> bytes) {
        std::memcpy(entries_.data(), bytes.data(), bytes.size());
        if constexpr (std::endian::native == std::endian::big)
            for (std::uint32_t& entry : entries_) entry = __builtin_bswap32(entry);

        // Two shapes that most tables have, found without a branch an entry: nothing at all, and one stretch.
        const std::uint32_t first = entries_[0];
        const std::uint32_t step = static_cast<std::uint32_t>(header_.grain_size.count());
        std::uint32_t any = 0;
        std::uint32_t deviation = 0;
        std::uint32_t expected = first;
        for (const std::uint32_t entry : entries_) {
            any |= entry;
            deviation |= entry ^ expected;
            expected += step;
        }
        if (any == 0) {
            runs_.unallocated(entries_.size());
        } else if (deviation == 0 && first > 1 && !header_.compressed &&
                   std::uint64_t{first} + step * std::uint64_t{entries_.size()} <= 0xffffffff) {
            runs_.stored(first, entries_.size());
        } else {
            for (std::size_t i = 0; i < entries_.size();) i += take_stretch(i);
        }
    }

    // Returns how many entries there are from this one on that are alike, or of which each continues the one
    // before.
    std::size_t take_stretch(std::size_t first) {
        const std::uint32_t entry = entries_[first];
        const bool is_zero = entry == 1 && header_.zero_grains;
        if (header_.compressed && entry != 0 && !is_zero) {
            runs_.compressed(entry);
            return 1;
        }
        const std::uint64_t step = entry == 0 || is_zero ? 0 : header_.grain_size.count();
        std::uint64_t expected = entry + step;
        std::size_t end = first + 1;
        for (; end < entries_.size() && entries_[end] == expected; ++end) expected += step;
        if (entry == 0)
            runs_.unallocated(end - first);
        else if (is_zero)
            runs_.zero(end - first);
        else
            runs_.stored(entry, end - first);
        return end - first;
    }

    FilePtr file_;
    const SparseHeader& header_;
    bool use_redundant_;
    std::vector<std::string>& notes_;
    GrainRuns runs_;
    std::vector<std::uint32_t> entries_;  // of one table
};

}  // namespace

bool is_sparse_extent(const File& file) {
    if (file.size() < Bytes(4)) return false;
    std::array<std::byte, 4> head{};
    file.read_at(Bytes(0), head);
    return load_le32(head, 0) == magic;
}

SparseHeader read_sparse_header(const File& file) { return HeaderReader(file).read(); }

SparseHeader read_sparse_header_at(const File& file, Bytes offset) {
    return HeaderReader(file).read_at(offset);
}

bool describe_the_same(const SparseHeader& header, const SparseHeader& footer) {
    const auto facts = [](const SparseHeader& of) {
        return std::tuple(of.version, of.redundant_tables, of.zero_grains, of.compressed, of.capacity,
                          of.grain_size, of.entries_per_table);
    };
    return facts(header) == facts(footer);
}

Sectors lowest_grain(const File& file, const SparseHeader& header) {
    // An overhead beyond the file's end is nonsense, and then tells nothing. No grain is ever in sector 0
    // or 1, whose numbers mean something else in a table.
    constexpr Sectors reserved(2);
    return header.overhead <= whole_sectors(file.size()) ? std::max(header.overhead, reserved) : reserved;
}

std::uint64_t directory_entries(const SparseHeader& header) {
    const std::uint64_t coverage = header.grain_size.count() * header.entries_per_table;
    return (header.capacity.count() + coverage - 1) / coverage;
}

void append_sparse_extent(Layer::Builder& layer, const FilePtr& file, const SparseHeader& header,
                          Sectors size, std::uint32_t depth, const SparseRules& rules,
                          std::vector<std::string>& notes) {
    check_capacity(*file, header.capacity, size, notes);
    if (rules.use_redundant && !header.redundant_tables)
        notes.push_back(
            concat("'", file->path(), "' has no redundant grain directory; its only one is read"));
    if (header.stream_end > Bytes(0) && header.stream_end < file->size())
        notes.push_back(concat("'", file->path(), "': ", (file->size() - header.stream_end).count(),
                               " bytes follow the end of the stream; they are ignored"));
    SparseReader(layer, file, header, size, depth, rules, notes).read();
}

}  // namespace vmdkdm
