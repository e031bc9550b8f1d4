#include "vmdk/check_stream.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"

namespace vmdkdm {
namespace {

constexpr std::uint64_t grain_header_bytes = 12;
constexpr Sectors marker_length(1);
enum Marker : std::uint32_t { end_of_stream, grain_table, grain_directory, footer, progress };

// The start of a block: of a grain, or a marker, in which the size is 0.
struct Block {
    std::uint64_t value = 0;  // sector on the disk, or sectors that follow the marker
    std::uint32_t size = 0;   // of the compressed data
    std::uint32_t type = 0;

    Sectors grain_length() const { return whole_sectors(Bytes(grain_header_bytes + size + sector_size - 1)); }
};

// What a cut file lacks of the block is taken for zeros.
Block read_block(const File& file, Sectors sector) {
    std::array<std::byte, 16> bytes{};
    const Bytes left = file.size() - to_bytes(sector);
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left.count(), bytes.size()));
    file.read_at(to_bytes(sector), std::span(bytes).first(count));
    return {load_le64(bytes, 0), load_le32(bytes, 8), load_le32(bytes, 12)};
}

// What is wrong with a grain's size; nothing when it can be. Twice the grain is what all readers accept.
std::string size_fault(const File& file, const SparseHeader& header, Sectors sector, const Block& block) {
    const Bytes left = file.size() - to_bytes(sector);
    if (block.size == 0) return "has no data";
    if (block.size > 2 * to_bytes(header.grain_size).count())
        return concat("has ", block.size, " compressed bytes, more than any grain of ",
                      to_bytes(header.grain_size).count());
    if (grain_header_bytes + block.size > left.count()) return "is cut by the end of the file";
    return "";
}

class MarkerWalk : FileChecker {
  public:
    MarkerWalk(const File& file, const SparseHeader& header, FileUse& use, Findings& findings)
        : FileChecker(file, findings),
          header_(header),
          known_(use.sorted()),
          end_(whole_sectors(file.size() + Bytes(sector_size - 1))) {}

    void run() {
        if (header_.overhead >= end_ || header_.overhead == Sectors(0)) return;
        position_ = header_.overhead;
        while (position_ < end_ && step()) {
        }
        if (met_footer_ && !met_end_) fault(position_, "the end-of-stream marker is missing");
    }

  private:
    template <class... Parts>
    void fault(Sectors sector, const Parts&... parts) {
        FileChecker::fault(FindingKind::stream, to_bytes(sector), parts...);
    }

    // Returns whether the walk goes on.
    bool step() {
        while (next_ < known_.size() && known_[next_].start < position_.count()) ++next_;
        if (next_ < known_.size() && known_[next_].start == position_.count()) {
            position_ = Sectors(known_[next_].end());
            return true;
        }
        const Block block = read_block(file_, position_);
        return block.size != 0 ? pass_unknown_grain(block) : pass_marker(block);
    }

    bool pass_unknown_grain(const Block& block) {
        if (!size_fault(file_, header_, position_, block).empty() ||
            block.value % header_.grain_size.count() != 0 || block.value >= header_.capacity.count()) {
            fault(position_,
                  "neither a grain nor a marker that is known; the stream is not followed further");
            return false;
        }
        fault(position_, "a grain for byte ", to_bytes(Sectors(block.value)).count(),
              " of the extent, which no table refers to");
        position_ += block.grain_length();
        return true;
    }

    bool pass_marker(const Block& block) {
        const Sectors at = position_;
        position_ += marker_length;
        switch (block.type) {
            case end_of_stream:
                return pass_end(at, block);
            case grain_table:
                check_marked(at, block, FilePart::table, "grain table");
                return true;
            case grain_directory:
                check_marked(at, block, FilePart::directory, "grain directory");
                return true;
            case footer:
                met_footer_ = true;
                check_footer(at, block);
                position_ += marker_length;
                return true;
            case progress:  // what it says is not known (7.2)
                return true;
            default:
                fault(at, "a marker of unknown type ", block.type, "; the stream is not followed further");
                return false;
        }
    }

    // A stream without markers may have gaps of zeros, which look like its end.
    bool pass_end(Sectors at, const Block& block) {
        if (block.value != 0) {
            fault(at, "an end-of-stream marker that says that ", block.value, " sectors follow");
            return false;
        }
        while (next_ < known_.size() && known_[next_].start < position_.count()) ++next_;
        const bool more_follows = next_ < known_.size();
        if (more_follows && !met_marker_) {
            position_ = Sectors(known_[next_].start);
            return true;
        }
        met_end_ = true;
        if (more_follows) fault(at, "the end-of-stream marker comes before what the tables refer to");
        if (position_ < end_ && met_marker_)
            findings_.notes.add(FindingKind::stream, file_.path(), to_bytes(position_), [&] {
                return concat((file_.size() - to_bytes(position_)).count(),
                              " bytes follow the end of the stream; they are ignored");
            });
        return false;
    }

    // What the marker announces must be what the directory, or the header, refers to.
    void check_marked(Sectors at, const Block& block, FilePart part, std::string_view name) {
        met_marker_ = true;
        while (next_ < known_.size() && known_[next_].start < position_.count()) ++next_;
        if (next_ == known_.size() || known_[next_].start != position_.count() ||
            known_[next_].part != part) {
            fault(at, "a marker of a ", name, " that nothing refers to");
            // What it announces is passed all the same, if it can be.
            if (position_ < end_ && block.value <= (end_ - position_).count())
                position_ += Sectors(block.value);
        } else if (part == FilePart::directory && block.value != known_[next_].sectors) {
            fault(at, "the marker of the grain directory says ", block.value, " sectors, expected ",
                  known_[next_].sectors);
        }
    }

    void check_footer(Sectors at, const Block& block) {
        met_marker_ = true;
        if (block.value != 1) fault(at, "the footer's marker says ", block.value, " sectors, expected 1");
        try {
            const SparseHeader footer = read_sparse_header_at(file_, to_bytes(at + marker_length));
            if (!describe_the_same(header_, footer) || footer.directory != header_.directory)
                fault(at + marker_length, "header and footer differ");
            else if (footer.overhead != header_.overhead ||
                     footer.descriptor_offset != header_.descriptor_offset ||
                     footer.descriptor_size != header_.descriptor_size)
                findings_.notes.add(FindingKind::stream, file_.path(), to_bytes(at + marker_length), [] {
                    return std::string("header and footer differ in where the descriptor or the grains are");
                });
        } catch (const Error&) {
            fault(at + marker_length, "the footer is damaged");
        }
    }

    const SparseHeader& header_;
    std::span<const FileUse::Stretch> known_;
    std::size_t next_ = 0;  // of known_, the first that is not behind
    Sectors end_;           // of the file, a part-sector counted
    Sectors position_;
    bool met_marker_ = false;
    bool met_footer_ = false;
    bool met_end_ = false;
};

}  // namespace

void check_compressed_grains(const File& file, const SparseHeader& header,
                             std::vector<CompressedGrain> grains, FileUse& use, Findings& findings) {
    const auto place = [](const CompressedGrain& grain) { return std::pair(grain.sector, grain.number); };
    const auto before = [&](const CompressedGrain& a, const CompressedGrain& b) {
        return place(a) < place(b);
    };
    if (!std::is_sorted(grains.begin(), grains.end(), before))
        std::sort(grains.begin(), grains.end(), before);

    bool ascending = true;
    Block block;
    for (std::size_t i = 0; i < grains.size(); ++i) {
        const std::uint32_t sector = grains[i].sector;
        const std::uint64_t number = grains[i].number;
        const auto fault = [&](const std::string& what) {
            findings.faults.add(FindingKind::grain, file.path(), to_bytes(Sectors(sector)),
                                [&] { return concat("grain ", number, " ", what); });
        };
        const bool is_shared = i > 0 && grains[i - 1].sector == sector;
        ascending = ascending && (i == 0 || grains[i - 1].number < number);
        if (!is_shared) block = read_block(file, Sectors(sector));
        const std::string wrong_size = size_fault(file, header, Sectors(sector), block);
        if (!wrong_size.empty()) {
            fault(wrong_size);
            if (block.size > 0)  // the walk over the markers goes by
                use.add(FilePart::grain, number, Sectors(sector),
                        std::min(block.grain_length(),
                                 whole_sectors(file.size() + Bytes(sector_size - 1)) - Sectors(sector)));
            continue;
        }
        const Sectors wanted(number * header.grain_size.count());
        if (block.value != wanted.count())
            fault(concat("is stored as that of sector ", block.value, ", expected ", wanted.count()));
        use.add(FilePart::grain, number, Sectors(sector), block.grain_length());
    }
    if (!ascending)
        findings.notes.add(FindingKind::stream, file.path(), to_bytes(Sectors(grains.front().sector)),
                           [] { return std::string("the grains do not stand in the order of the disk"); });
}

void check_markers(const File& file, const SparseHeader& header, FileUse& use, Findings& findings) {
    MarkerWalk(file, header, use, findings).run();
}

}  // namespace vmdkdm
