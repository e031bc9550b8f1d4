#include "fuzz/mutate_extent.h"

#include <algorithm>
#include <iterator>
#include <random>

#include "fuzz/pieced_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace vmdkdm::test {
namespace {

constexpr std::size_t pieces_per_sector = sector_size / PiecedFile::piece_bytes;

class ExtentMutator {
  public:
    ExtentMutator(const ExtentShape& shape, PiecedFile& file, unsigned seed)
        : shape_(shape), file_(file), random_(seed) {}

    void mutate() {
        for (std::size_t rounds = 1 + below(4); rounds > 0; --rounds) mutate_once();
        if (below(32) != 0)
            for (const FixedField& fixed : shape_.fixed)
                file_.store(fixed.field.offset, fixed.field.width, fixed.value);
    }

  private:
    std::size_t below(std::size_t limit) { return random_() % limit; }

    void mutate_once() {
        switch (below(shape_.is_stream ? 10 : 8)) {
            case 0:
            case 1:
                return change_field();
            case 2:
            case 3:
            case 4:
                return change_entry();
            case 5:
                return copy_sector();
            case 6:
                return copy_entries();
            case 7:
                return change_size();
            default:
                return put_block();
        }
    }

    void change_field() {
        const ExtentField field = shape_.fields[below(shape_.fields.size())];
        file_.store(field.offset, field.width, number(file_.load(field.offset, field.width)));
    }

    // Of any table or directory: what is not the header.
    void change_entry() {
        const std::size_t width = shape_.entry == ExtentShape::Entry::se_sparse ? 8 : 4;
        const std::size_t offset =
            any_place() * PiecedFile::piece_bytes + below(PiecedFile::piece_bytes / width) * width;
        if (offset < shape_.header_bytes) return change_field();
        const std::uint64_t old = file_.load(offset, width);
        file_.store(offset, width, width == 8 ? se_sparse_entry(old) : number(old));
    }

    // A grain's kind in the top bits, or what marks a table that exists; and a small number.
    std::uint64_t se_sparse_entry(std::uint64_t old) {
        const std::uint64_t small = below(16);
        switch (below(6)) {
            case 0:
                return std::uint64_t{below(5)} << 60;
            case 1:
            case 2:
                return std::uint64_t{3} << 60 | small << 48;
            case 3:
                return std::uint64_t{0x10000000} << 32 | small;
            case 4:
                return number(old);
            default:
                return old ^ std::uint64_t{1} << below(64);
        }
    }

    // All that was at one sector is at another too, or goes.
    void copy_sector() {
        const std::size_t from = any_place() / pieces_per_sector * pieces_per_sector;
        const std::size_t to =
            (below(3) == 0 ? any_place() : any_place() + below(64)) / pieces_per_sector * pieces_per_sector;
        const bool clear = below(4) == 0;
        for (std::size_t i = 0; i < pieces_per_sector; ++i) {
            const auto source = file_.pieces.find(static_cast<std::uint16_t>(from + i));
            if (clear || source == file_.pieces.end())
                file_.pieces.erase(static_cast<std::uint16_t>(to + i));
            else
                file_.pieces[static_cast<std::uint16_t>(to + i)] = PiecedFile::Piece(source->second);
        }
    }

    void copy_entries() {
        const std::size_t from = any_place() * PiecedFile::piece_bytes + 4 * below(16);
        const std::size_t to = any_place() * PiecedFile::piece_bytes + 4 * below(16);
        const std::uint64_t step = below(2) * number(8);
        for (std::size_t i = 0, count = 1 + below(16); i < count; ++i)
            file_.store(to + 4 * i, 4, file_.load(from + 4 * i, 4) + i * step);
    }

    void change_size() {
        const std::uint64_t last = file_.pieces.empty() ? 0 : file_.pieces.rbegin()->first + std::uint64_t{1};
        const std::uint64_t sizes[] = {
            last * PiecedFile::piece_bytes,
            round_up(last * PiecedFile::piece_bytes, sector_size),
            file_.size.count() + sector_size,
            file_.size.count() - std::min<std::uint64_t>(file_.size.count(), sector_size),
            file_.size.count() ^ 1,
            below(PiecedFile::largest + 1)};
        file_.size = Bytes(std::min(PiecedFile::largest, sizes[below(std::size(sizes))]));
    }

    // The first words of a grain, or a marker, where a sector begins.
    void put_block() {
        const std::size_t offset = any_place() / pieces_per_sector * sector_size;
        if (offset == 0) return;
        const std::uint64_t old = file_.load(offset, 8);
        file_.store(offset, 8, number(old));
        if (below(2) == 0) {
            file_.store(offset + 8, 4, 1 + below(2000));
        } else {
            file_.store(offset + 8, 4, 0);
            file_.store(offset + 12, 4, below(6));
        }
    }

    std::size_t any_place() {
        if (file_.pieces.empty()) return below(64);
        auto piece = file_.pieces.begin();
        std::advance(piece, below(file_.pieces.size()));
        return (piece->first + (below(8) == 0 ? below(16) : 0)) & 0xffff;
    }

    // One that could mean something in this file, or is hard on arithmetic.
    std::uint64_t number(std::uint64_t old) {
        const ExtentField field = shape_.fields[below(shape_.fields.size())];
        switch (below(10)) {
            case 0:
                return below(20);
            case 1:
                return any_place() / pieces_per_sector;
            case 2:
                return file_.size.count() / sector_size + below(3) - 1;
            case 3:
                return file_.load(field.offset, field.width) + below(3) - 1;
            case 4:
                return (std::uint64_t{1} << below(64)) - below(2);
            case 5:
                return ~std::uint64_t{0};
            case 6:
                return old + below(17) - 8;
            case 7:
                return old ^ std::uint64_t{1} << below(32);
            case 8:
                return std::uint64_t{1} << below(12);
            default:
                return below(2048);
        }
    }

    static std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
        return (value + unit - 1) / unit * unit;
    }

    const ExtentShape& shape_;
    PiecedFile& file_;
    std::mt19937 random_;
};

}  // namespace

// Format reference, 6.1: magic number, version, line ends.
const ExtentShape hosted_sparse = {
    .fixed = {{{0, 4}, 0x564d444b}, {{4, 4}, 1}, {{73, 4}, 0x0a0d200a}, {{77, 2}, 0}},
    .fields = {{8, 1}, {12, 8}, {20, 8}, {28, 8}, {36, 8}, {44, 4}, {48, 8}, {56, 8}, {64, 8}, {72, 1}},
    .header_bytes = 512};

const ExtentShape hosted_stream = {
    .fixed = {{{0, 4}, 0x564d444b}, {{4, 4}, 3}, {{10, 2}, 3}, {{73, 4}, 0x0a0d200a}, {{77, 2}, 1}},
    .fields = {{8, 1}, {12, 8}, {20, 8}, {28, 8}, {36, 8}, {44, 4}, {48, 8}, {56, 8}, {64, 8}, {72, 1}},
    .is_stream = true,
    .header_bytes = 512};

// 8.1
const ExtentShape esx_cowd = {.fixed = {{{0, 4}, 0x44574f43}, {{4, 4}, 1}},
                              .fields = {{12, 4}, {16, 4}, {20, 4}, {24, 4}, {28, 4}, {1648, 4}},
                              .header_bytes = 2048};

// 9.1
const ExtentShape esx_se_sparse = {
    .fixed = {{{0, 8}, 0xcafebabe}, {{8, 8}, 0x0000000200000001}, {{24, 8}, 8}, {{32, 8}, 64}},
    .fields = {{16, 8}, {80, 8}, {128, 8}, {136, 8}, {144, 8}, {152, 8}, {192, 8}, {200, 8}},
    .entry = ExtentShape::Entry::se_sparse,
    .header_bytes = 512};

// drivers/md/dm-snap-persistent.c
const ExtentShape exception_list = {.fixed = {{{0, 4}, 0x70416e53}, {{8, 4}, 1}},
                                    .fields = {{4, 4}, {12, 4}},
                                    .header_bytes = 16,
                                    .prefix = 8};

std::size_t mutate_extent(const ExtentShape& shape, std::uint8_t* data, std::size_t size,
                          std::size_t max_size, unsigned seed) {
    if (seed % 4 == 0 || size <= shape.prefix) return LLVMFuzzerMutate(data, size, max_size);
    PiecedFile file(data + shape.prefix, size - shape.prefix);
    ExtentMutator(shape, file, seed).mutate();
    const std::vector<std::uint8_t> input = file.input();
    if (input.size() + shape.prefix > max_size) return LLVMFuzzerMutate(data, size, max_size);
    std::copy(input.begin(), input.end(), data + shape.prefix);
    return shape.prefix + input.size();
}

}  // namespace vmdkdm::test
