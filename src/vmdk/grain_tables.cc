#include "vmdk/grain_tables.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::size_t batch_bytes = 1 << 20;    // of tables: stays in the cache while it is looked at
constexpr std::uint64_t gap_bytes = 128 << 10;  // read rather than skipped with another call
constexpr std::uint64_t gap_share = 4;          // of all gaps, as a multiple of the tables' bytes

struct Piece {
    std::uint64_t offset;
    std::size_t slot;  // of the batch's buffer
};

constexpr std::uint64_t max_directory_entries = 1 << 22;

std::optional<GrainLayout> layout_of(const GrainRuns::Extent& extent, Sectors start) {
    if (!extent.compressed_size) return std::nullopt;
    return GrainLayout{start, *extent.compressed_size, extent.grain_size};
}

bool lies_inside(const TableOffset& table, std::size_t table_bytes, Bytes file_size) {
    return table && *table <= file_size.count() && table_bytes <= file_size.count() - *table;
}

// Where a file has something stored, asked for places that mostly ascend: neighbours cost one question.
class StoredStretches {
  public:
    explicit StoredStretches(const File& file) : file_(file) {}

    // The first one that ends behind `offset`, or an empty one at the end of the file.
    File::Stretch from(Bytes offset) {
        if (offset < asked_ || offset >= found_.end) {
            found_ = file_.stored_from(offset);
            asked_ = offset;
        }
        return found_;
    }

  private:
    const File& file_;
    Bytes asked_;  // between this and the stretch that was found there is nothing
    File::Stretch found_;
};

// Those inside the file that share no byte with another can be read, and need not be when they lie in a hole.
std::vector<ReadTable::Kind> kinds_of(const File& file, std::span<const TableOffset> tables,
                                      std::size_t table_bytes) {
    using enum ReadTable::Kind;
    std::vector<ReadTable::Kind> kinds(tables.size(), unreadable);
    std::vector<std::size_t> by_offset;
    for (std::size_t i = 0; i < tables.size(); ++i)
        if (lies_inside(tables[i], table_bytes, file.size())) {
            kinds[i] = read;
            by_offset.push_back(i);
        }
    const auto before = [&](std::size_t a, std::size_t b) { return *tables[a] < *tables[b]; };
    if (!std::is_sorted(by_offset.begin(), by_offset.end(), before))
        std::sort(by_offset.begin(), by_offset.end(), before);
    for (std::size_t i = 1; i < by_offset.size(); ++i)
        if (*tables[by_offset[i]] - *tables[by_offset[i - 1]] < table_bytes)
            kinds[by_offset[i]] = kinds[by_offset[i - 1]] = unreadable;
    StoredStretches stored(file);
    for (const std::size_t i : by_offset)
        if (kinds[i] == read && stored.from(Bytes(*tables[i])).start.count() >= *tables[i] + table_bytes)
            kinds[i] = zeros;
    return kinds;
}

// Fills `out`, from holes without reading them.
void read_stored(const File& file, StoredStretches& stored, Bytes offset, std::span<std::byte> out) {
    const Bytes end = offset + Bytes(out.size());
    for (Bytes at = offset; at < end;) {
        const File::Stretch next = stored.from(at);
        const Bytes start = std::clamp(next.start, at, end);
        const auto place = [&](Bytes from, Bytes to) {
            return out.subspan(static_cast<std::size_t>((from - offset).count()),
                               static_cast<std::size_t>((to - from).count()));
        };
        const std::span<std::byte> hole = place(at, start);
        std::fill(hole.begin(), hole.end(), std::byte{0});
        // With nothing stored any more the file ends where `out` does, or is shorter than it was.
        const Bytes stop = next.end > start ? std::min(next.end, end) : end;
        if (start < stop) file.read_at(start, place(start, stop));
        at = stop;
    }
}

// Reads the pieces, sorted by offset, each into its slot. Of what lies between them at most `gaps_left` is
// read, to which every piece adds its share.
void read_pieces(const File& file, StoredStretches& stored, std::vector<Piece>& pieces,
                 std::size_t table_bytes, std::uint64_t& gaps_left, std::vector<std::byte>& buffer,
                 std::vector<std::byte>& scratch) {
    gaps_left += gap_share * pieces.size() * table_bytes;
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
    for (std::size_t first = 0; first < pieces.size();) {
        std::size_t last = first;
        bool in_place = true;  // the pieces follow each other in the file as in the buffer
        while (last + 1 < pieces.size() &&
               pieces[last + 1].offset - pieces[last].offset <=
                   table_bytes + std::min(gap_bytes, gaps_left) &&
               pieces[last + 1].offset - pieces[first].offset + table_bytes <= 4 * batch_bytes) {
            ++last;
            gaps_left -= pieces[last].offset - pieces[last - 1].offset - table_bytes;
            in_place = in_place && pieces[last].offset == pieces[last - 1].offset + table_bytes &&
                       pieces[last].slot == pieces[last - 1].slot + 1;
        }
        const std::size_t span_bytes =
            static_cast<std::size_t>(pieces[last].offset - pieces[first].offset) + table_bytes;
        if (in_place) {
            read_stored(file, stored, Bytes(pieces[first].offset),
                        std::span(buffer).subspan(pieces[first].slot * table_bytes, span_bytes));
        } else {
            scratch.resize(std::max(scratch.size(), span_bytes));
            read_stored(file, stored, Bytes(pieces[first].offset), std::span(scratch).first(span_bytes));
            for (std::size_t i = first; i <= last; ++i)
                std::copy_n(
                    scratch.begin() + static_cast<std::ptrdiff_t>(pieces[i].offset - pieces[first].offset),
                    table_bytes, buffer.begin() + static_cast<std::ptrdiff_t>(pieces[i].slot * table_bytes));
        }
        first = last + 1;
    }
}

}  // namespace

void refuse(const File& file, const std::string& what) {
    throw Error(ErrorKind::format, concat("'", file.path(), "': ", what));
}

void check_capacity(const File& file, Sectors by_header, Sectors by_line, std::vector<std::string>& notes) {
    if (by_header < by_line)
        throw Error(ErrorKind::format, concat("'", file.path(), "' holds ", by_header.count(),
                                              " sectors, but its extent line says ", by_line.count()));
    if (by_header > by_line)
        notes.push_back(concat("'", file.path(), "' holds ", by_header.count(), " sectors; the ",
                               by_line.count(), " that its extent line says are used"));
}

bool lies_inside(const File& file, Sectors start, Bytes length) {
    const Sectors file_end = whole_sectors(file.size());
    return start <= file_end && length <= file.size() - to_bytes(start);
}

void check_directory_length(const File& file, std::uint64_t entries) {
    if (entries > max_directory_entries)
        throw Error(ErrorKind::format, concat("'", file.path(), "': a grain directory of ", entries,
                                              " entries (at most ", max_directory_entries, " are read)"));
}

void read_tables(const File& file, std::span<const TableOffset> tables, std::size_t table_bytes,
                 const std::function<void(std::size_t, const ReadTable&)>& visit) {
    using enum ReadTable::Kind;
    const std::vector<ReadTable::Kind> kinds = kinds_of(file, tables, table_bytes);
    StoredStretches stored(file);
    std::uint64_t gaps_left = gap_share * batch_bytes;
    const std::size_t slots = std::max<std::size_t>(1, batch_bytes / table_bytes);
    std::vector<std::byte> buffer(std::min(slots, tables.size()) * table_bytes);
    std::vector<std::byte> scratch;
    std::vector<Piece> pieces;
    for (std::size_t index = 0; index < tables.size();) {
        // A batch is as many tables as fill the buffer; those that are not there take no room.
        const std::size_t begin = index;
        pieces.clear();
        for (; index < tables.size() && pieces.size() < slots; ++index)
            if (kinds[index] == read) pieces.push_back({*tables[index], pieces.size()});
        read_pieces(file, stored, pieces, table_bytes, gaps_left, buffer, scratch);
        std::size_t slot = 0;
        for (std::size_t i = begin; i < index; ++i) {
            ReadTable table{kinds[i]};
            if (kinds[i] == read)
                table.bytes = std::span<const std::byte>(buffer).subspan(slot++ * table_bytes, table_bytes);
            visit(i, table);
        }
    }
}

std::vector<std::size_t> hashes_of_tables(const File& file, std::span<const TableOffset> tables,
                                          std::size_t table_bytes) {
    const auto hash_of = [](std::span<const std::byte> bytes) {
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return std::hash<std::string_view>()(text);
    };
    const std::size_t of_zeros = hash_of(std::vector<std::byte>(table_bytes));
    std::vector<std::size_t> hashes(tables.size());
    read_tables(file, tables, table_bytes, [&](std::size_t index, const ReadTable& table) {
        if (table.kind == ReadTable::Kind::zeros) hashes[index] = of_zeros;
        if (table.kind == ReadTable::Kind::read) hashes[index] = hash_of(table.bytes);
    });
    return hashes;
}

GrainRuns::GrainRuns(Layer::Builder& layer, const Extent& extent)
    : layer_(layer),
      extent_(extent),
      file_(layer.add_file(extent.file, extent.depth, layout_of(extent, layer.length()))),
      left_(extent.size),
      file_end_(whole_sectors(extent.file->size())) {
    constexpr std::uint64_t watched_sectors = std::uint64_t{1} << 32;
    if (extent.watch_sharing)
        used_.resize(std::min(file_end_.count(), watched_sectors) / extent.grain_size.count() / 64 + 1);
}

void GrainRuns::append(std::uint64_t grains, const LayerContent& content) {
    const Sectors length(std::min(left_.count(), checked_multiply(grains, extent_.grain_size.count())));
    layer_.append(length, content);
    left_ = left_ - length;
}

void GrainRuns::damaged(std::uint64_t grains, const std::string& why) {
    append(grains,
           Unreadable{extent_.depth, layer_.add_reason({Reason::Kind::damage,
                                                        concat("'", extent_.file->path(), "': ", why)})});
}

void GrainRuns::stored(std::uint64_t sector, std::uint64_t grains) {
    if (left_ == Sectors(0)) return;
    // The tables may go on behind the extent's end; what they say there is of no grain.
    if (grains > 1) grains = std::min(grains, (left_.count() - 1) / extent_.grain_size.count() + 1);
    if (sector < extent_.data_start.count()) {
        // The rest of the stretch may well be sound.
        const std::uint64_t grain_size = extent_.grain_size.count();
        const std::uint64_t inside =
            std::min(grains, (extent_.data_start.count() - sector + grain_size - 1) / grain_size);
        damaged(inside, "a grain lies inside the metadata");
        if (inside < grains) stored(sector + inside * grain_size, grains - inside);
        return;
    }
    note_use(sector, grains);
    const std::uint64_t wanted =
        std::min(left_.count(), checked_multiply(grains, extent_.grain_size.count()));
    const std::uint64_t present =
        std::min(wanted, file_end_.count() > sector ? file_end_.count() - sector : 0);
    layer_.append(Sectors(present), Stored{file_, Sectors(sector)});
    if (present < wanted)
        layer_.append(Sectors(wanted - present),
                      Unreadable{extent_.depth, layer_.add_reason({Reason::Kind::damage,
                                                                   concat("'", extent_.file->path(),
                                                                          "': a grain lies beyond the end of "
                                                                          "the file")})});
    left_ = left_ - Sectors(wanted);
}

void GrainRuns::compressed(std::uint64_t sector) {
    // The last one may end inside a sector, and the file with it.
    if (sector < extent_.data_start.count() || to_bytes(Sectors(sector)) >= extent_.file->size())
        damaged(1, "a compressed grain lies outside the data of the file");
    else
        append(1, Compressed{file_, 0, Sectors(sector)});
}

void GrainRuns::note_use(std::uint64_t sector, std::uint64_t grains) {
    const std::uint64_t grain_size = extent_.grain_size.count();
    if (overlapping_ || sector % grain_size != 0) return;
    std::uint64_t grain = sector / grain_size;
    std::uint64_t shared = 0;
    while (grains > 0 && grain / 64 < used_.size()) {
        const std::uint64_t in_word = std::min(grains, 64 - grain % 64);
        const std::uint64_t bits = (~std::uint64_t{0} >> (64 - in_word)) << (grain % 64);
        std::uint64_t& word = used_[grain / 64];
        shared |= word & bits;
        word |= bits;
        grain += in_word;
        grains -= in_word;
    }
    overlapping_ = shared != 0;
}

void GrainRuns::finish() {
    if (left_ != Sectors(0))
        throw Error(ErrorKind::format, concat("'", extent_.file->path(), "': its tables end ", left_.count(),
                                              " sectors before the extent does"));
}

}  // namespace vmdkdm
