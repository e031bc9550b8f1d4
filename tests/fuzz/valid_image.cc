#include "fuzz/valid_image.h"

#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "fuzz/check.h"
#include "support/blob.h"

namespace vmdkdm::test {
namespace {

constexpr std::uint64_t sector = 512;
constexpr std::uint64_t most_sectors = 320;  // of an extent

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit;
}

// What an extent, or a link, says of each sector of the disk.
struct Said {
    enum Kind : char { nothing, zeros, data };

    explicit Said(std::uint64_t sectors) : kinds(sectors, nothing), bytes(sectors * sector, '\0') {}
    std::uint64_t size() const { return kinds.size(); }

    void append(const Said& next) {
        kinds += next.kinds;
        bytes += next.bytes;
    }

    std::string kinds;
    std::string bytes;
};

class ImageMaker {
  public:
    explicit ImageMaker(FuzzedDataProvider& bytes) : bytes_(bytes) {}

    ValidImage make() {
        const unsigned links = bytes_.ConsumeIntegralInRange<unsigned>(1, 3);
        for (link_ = 0; link_ < links; ++link_) {
            Said said = make_link(link_ + 1 == links);
            if (link_ == 0) image_.disk.assign(said.bytes.size(), '\0');
            lay_below(said);
        }
        return std::move(image_);
    }

  private:
    enum class Kind { flat, vmfs, sparse, cowd, se_sparse };

    std::uint64_t any(std::uint64_t least, std::uint64_t most) {
        return bytes_.ConsumeIntegralInRange<std::uint64_t>(least, most);
    }
    bool coin() { return bytes_.ConsumeBool(); }

    // What was not said by a link above counts; each sector once.
    void lay_below(const Said& said) {
        if (link_ == 0) decided_.assign(image_.disk.size() / sector, false);
        for (std::uint64_t i = 0; i < std::min<std::uint64_t>(decided_.size(), said.size()); ++i) {
            if (decided_[i] || said.kinds[i] == Said::nothing) continue;
            decided_[i] = true;
            std::memcpy(image_.disk.data() + i * sector, said.bytes.data() + i * sector, sector);
        }
        // Beyond the end of a smaller parent there are zeros, whatever its own parents say.
        for (std::uint64_t i = said.size(); i < decided_.size(); ++i) decided_[i] = true;
    }

    std::string name_of(const std::string& what) const { return concat("link", link_, what, ".vmdk"); }

    Said make_link(bool is_base) {
        switch (any(0, 3)) {
            case 0:
                return make_embedded(is_base, false);
            case 1:
                return make_embedded(is_base, true);
            default:
                return make_split(is_base);
        }
    }

    // The descriptor up to its extents. No blank line stands before an extent: qemu 7.2 would count it twice
    // (15).
    std::string head(std::string_view create_type, bool is_base) {
        std::string text = concat("# Disk DescriptorFile\nversion=1\nCID=", cid(link_),
                                  "\nparentCID=", is_base ? "ffffffff" : cid(link_ + 1), "\ncreateType=\"",
                                  create_type, "\"\n");
        if (!is_base) text += concat("parentFileNameHint=\"link", link_ + 1, ".vmdk\"\n");
        return text + "# Extent description\n";
    }
    static std::string cid(unsigned link) { return concat("1234567", link); }

    Said make_embedded(bool is_base, bool is_stream) {
        const std::uint64_t size = any(1, most_sectors);
        const std::string text = concat(head(is_stream ? "streamOptimized" : "monolithicSparse", is_base),
                                        "RW ", size, " SPARSE \"", name_of(""), "\"\n");
        Said said(size);
        image_.files.push_back({name_of(""), is_stream ? make_stream(said, text) : make_sparse(said, text)});
        return said;
    }

    Said make_split(bool is_base) {
        constexpr std::array types = {"monolithicFlat",     "vmfs",       "twoGbMaxExtentSparse",
                                      "twoGbMaxExtentFlat", "vmfsSparse", "seSparse"};
        std::string text = head(types[any(0, types.size() - 1)], is_base);
        Said said(0);
        const std::uint64_t extents = any(1, 3);
        for (std::uint64_t i = 0; i < extents; ++i) {
            const auto kind = static_cast<Kind>(any(0, 4));
            std::uint64_t size = any(1, most_sectors);
            if (i + 1 < extents) size = round_up(size, 128);  // a multiple of any grain
            Said part(size);
            const std::string name = name_of(concat("-", i));
            const std::uint64_t offset = kind == Kind::flat ? any(0, 3) : 0;
            image_.files.push_back({name, make_extent(kind, part, offset)});
            constexpr std::array words = {"FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE"};
            text += concat("RW ", size, " ", words[static_cast<std::size_t>(kind)], " \"", name, "\"",
                           kind == Kind::flat ? concat(" ", offset) : "", "\n");
            said.append(part);
        }
        image_.files.push_back({name_of(""), std::move(text)});
        return said;
    }

    std::string make_extent(Kind kind, Said& said, std::uint64_t offset) {
        switch (kind) {
            case Kind::flat:
            case Kind::vmfs:
                return make_flat(said, offset);
            case Kind::sparse:
                return make_sparse(said, "");
            case Kind::cowd:
                return make_cowd(said);
            case Kind::se_sparse:
                return make_se_sparse(said);
        }
        return "";
    }

    std::string make_flat(Said& said, std::uint64_t offset) {
        fill(said, 0, said.size());
        return std::string(offset * sector, '\xee') + said.bytes + std::string(any(0, 1) * 700, '\xee');
    }

    // Each sector of a file says whose it is.
    void fill(Said& said, std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t i = first; i < std::min(first + count, said.size()); ++i) {
            said.kinds[i] = Said::data;
            std::uint64_t word = (std::uint64_t{image_.files.size()} << 32 | i) * 0x9e3779b97f4a7c15;
            for (std::uint64_t at = 0; at < sector; at += 8, word += 0x9e3779b97f4a7c15)
                std::memcpy(said.bytes.data() + i * sector + at, &word, 8);
        }
    }

    // Numbers of the grains that are stored; `said` has what they hold.
    std::vector<std::uint64_t> choose_grains(Said& said, std::uint64_t grain_size, bool may_be_zeros) {
        std::vector<std::uint64_t> stored;
        const std::uint64_t grains = divide_up(said.size(), grain_size);
        for (std::uint64_t next = 0; next < grains;) {
            const std::uint64_t end = std::min(grains, next + any(1, 9));
            const std::uint64_t kind = any(0, 3);
            for (; next < end; ++next) {
                if (kind == 1 || kind == 2) {
                    stored.push_back(next);
                    fill(said, next * grain_size, grain_size);
                } else if (kind == 3 && may_be_zeros) {
                    for (std::uint64_t i = next * grain_size;
                         i < std::min((next + 1) * grain_size, said.size()); ++i)
                        said.kinds[i] = Said::zeros;
                }
            }
        }
        return stored;
    }

    // A grain as a file holds it: what lies beyond the extent's end is nobody's.
    std::string grain_of(const Said& said, std::uint64_t number, std::uint64_t grain_size) {
        std::string grain = said.bytes.substr(number * grain_size * sector, grain_size * sector);
        grain.resize(grain_size * sector, '\xee');
        return grain;
    }

    template <class List>
    void shuffle_perhaps(List& list) {
        if (!coin()) return;
        std::mt19937 random(static_cast<unsigned>(any(0, 255)));
        std::shuffle(list.begin(), list.end(), random);
    }

    // Entries of all tables, by grain; 0 where there is none.
    static std::string table_of(const std::vector<std::uint32_t>& entries, std::uint64_t index,
                                std::uint64_t per_table) {
        Blob table(0);
        for (std::uint64_t i = 0; i < per_table; ++i) {
            const std::uint64_t number = index * per_table + i;
            table.put32(4 * i, number < entries.size() ? entries[number] : 0);
        }
        return table.bytes();
    }

    static bool is_used(const std::vector<std::uint32_t>& entries, std::uint64_t index,
                        std::uint64_t per_table) {
        for (std::uint64_t i = index * per_table;
             i < std::min<std::uint64_t>((index + 1) * per_table, entries.size()); ++i)
            if (entries[i] != 0) return true;
        return false;
    }

    // Format reference, 6. With a descriptor it is a monolithicSparse.
    std::string make_sparse(Said& said, const std::string& descriptor) {
        const std::uint64_t grain_size = std::uint64_t{8} << any(0, 4);
        const std::uint64_t per_table = coin() ? 512 : any(1, 512);
        const bool has_zeros = coin();
        const bool is_redundant = coin();
        const bool all_tables = coin();
        const std::vector<std::uint64_t> stored = choose_grains(said, grain_size, has_zeros);
        const std::uint64_t grains = divide_up(said.size(), grain_size);
        std::vector<std::uint32_t> entries(grains);
        for (std::uint64_t i = 0; i < grains; ++i)
            entries[i] = said.kinds[i * grain_size] == Said::zeros ? 1 : 0;

        const std::uint64_t tables = divide_up(grains, per_table);
        const std::uint64_t table_sectors = divide_up(per_table * 4, sector);
        const std::uint64_t directory_sectors = divide_up(tables * 4, sector);
        const std::uint64_t descriptor_sectors = descriptor.empty() ? 0 : any(0, 1) * 18 + 2;
        std::vector<bool> exists(tables);
        for (std::uint64_t i = 0; i < tables; ++i) {
            exists[i] = all_tables || is_used(entries, i, per_table);
            for (const std::uint64_t number : stored) exists[i] = exists[i] || number / per_table == i;
        }

        std::uint64_t next = 1 + descriptor_sectors;
        const auto take = [&next](std::uint64_t count) { return std::exchange(next, next + count); };
        std::vector<std::uint64_t> directories;
        std::vector<std::vector<std::uint64_t>> places;
        for (int copy = is_redundant ? 0 : 1; copy < 2; ++copy) {
            directories.push_back(take(directory_sectors));
            places.emplace_back(tables);
            std::vector<std::uint64_t> order(tables);
            std::iota(order.begin(), order.end(), 0);
            if (copy == 1) shuffle_perhaps(order);
            for (const std::uint64_t index : order)
                if (exists[index]) places.back()[index] = take(table_sectors);
        }
        const std::uint64_t overhead = round_up(next, coin() ? 128 : 1);
        next = overhead + any(0, 2);
        std::vector<std::uint64_t> order = stored;
        shuffle_perhaps(order);
        for (const std::uint64_t number : order) {
            entries[number] = static_cast<std::uint32_t>(take(grain_size));
            next += any(0, 3) == 3 ? 1 : 0;
        }

        Blob file(std::max(next, overhead));
        put_sparse_header(file, 0,
                          {.version = has_zeros ? 2U : 1U,
                           .flags = 1U | (is_redundant ? 2U : 0U) | (has_zeros ? 4U : 0U),
                           .capacity = said.size(),
                           .grain_size = grain_size,
                           .descriptor_sectors = descriptor_sectors,
                           .per_table = per_table,
                           .redundant_directory = is_redundant ? directories.front() : 0,
                           .directory = directories.back(),
                           .overhead = overhead});
        file.put_text(sector, descriptor);
        for (std::size_t copy = 0; copy < directories.size(); ++copy)
            put_directory(file, directories[copy], places[copy], entries, per_table);
        for (const std::uint64_t number : stored)
            file.put_text(entries[number] * sector, grain_of(said, number, grain_size));
        return cut_last(file, said, stored, entries, grain_size, next);
    }

    // The file may end where the disk does, inside its last grain.
    std::string cut_last(Blob& file, const Said& said, const std::vector<std::uint64_t>& stored,
                         const std::vector<std::uint32_t>& entries, std::uint64_t grain_size,
                         std::uint64_t end) {
        const std::uint64_t inside = said.size() % grain_size;
        const std::uint64_t last = said.size() / grain_size;
        if (inside != 0 && !stored.empty() && stored.back() == last && entries[last] + grain_size == end &&
            coin())
            file.resize((entries[last] + inside) * sector);
        return file.bytes();
    }

    struct Header {
        std::uint32_t version, flags;
        std::uint64_t capacity, grain_size, descriptor_sectors, per_table, redundant_directory, directory,
            overhead;
        std::uint16_t algorithm = 0;
    };
    static void put_sparse_header(Blob& file, std::uint64_t at, const Header& header) {
        const std::uint64_t start = at * sector;
        file.put_text(start, "KDMV").put32(start + 4, header.version).put32(start + 8, header.flags);
        file.put64(start + 12, header.capacity).put64(start + 20, header.grain_size);
        file.put64(start + 28, header.descriptor_sectors == 0 ? 0 : 1)
            .put64(start + 36, header.descriptor_sectors);
        file.put32(start + 44, header.per_table).put64(start + 48, header.redundant_directory);
        file.put64(start + 56, header.directory)
            .put64(start + 64, header.overhead)
            .put_text(start + 73, "\n \r\n");
        file.put16(start + 77, header.algorithm);
    }

    static void put_directory(Blob& file, std::uint64_t at, const std::vector<std::uint64_t>& places,
                              const std::vector<std::uint32_t>& entries, std::uint64_t per_table) {
        for (std::size_t i = 0; i < places.size(); ++i) {
            file.put32(at * sector + 4 * i, places[i]);
            if (places[i] != 0) file.put_text(places[i] * sector, table_of(entries, i, per_table));
        }
    }

    // Format reference, 7: with its directory at the front, as VDDK and qemu write it, or at the end with
    // markers, as ovftool does.
    std::string make_stream(Said& said, const std::string& descriptor) {
        const std::uint64_t grain_size = std::uint64_t{8} << any(0, 4);
        const std::uint64_t per_table = coin() ? 512 : any(1, 512);
        const bool at_end = coin();
        const bool is_redundant = !at_end && coin();
        const int level = static_cast<int>(any(0, 9));
        const bool short_last = coin();
        const std::vector<std::uint64_t> stored = choose_grains(said, grain_size, false);
        const std::uint64_t grains = divide_up(said.size(), grain_size);
        const std::uint64_t tables = divide_up(grains, per_table);
        const std::uint64_t table_sectors = divide_up(per_table * 4, sector);
        const std::uint64_t directory_sectors = divide_up(tables * 4, sector);
        constexpr std::uint64_t descriptor_sectors = 20;
        std::vector<bool> exists(tables);
        for (const std::uint64_t number : stored) exists[number / per_table] = true;

        std::uint64_t next = 1 + descriptor_sectors;
        const auto take = [&next](std::uint64_t count) { return std::exchange(next, next + count); };
        std::vector<std::uint64_t> places(tables);
        std::vector<std::uint64_t> redundant_places(tables);
        std::uint64_t directory = 0;
        std::uint64_t redundant_directory = 0;
        const auto take_tables = [&](std::vector<std::uint64_t>& of) {
            const std::uint64_t at = take(directory_sectors);
            for (std::uint64_t i = 0; i < tables; ++i)
                if (exists[i]) of[i] = take(table_sectors);
            return at;
        };
        if (is_redundant) redundant_directory = take_tables(redundant_places);
        if (!at_end) directory = take_tables(places);
        const std::uint64_t overhead = round_up(next, 128);
        next = overhead;

        Blob file(overhead);
        std::vector<std::uint32_t> entries(grains);
        const auto put_marker = [&](std::uint64_t sectors, std::uint32_t type) {
            const std::uint64_t at = take(1) * sector;
            file.put64(at, sectors).put32(at + 8, 0).put32(at + 12, type).resize(at + sector);
        };
        std::vector<std::uint64_t> order = stored;
        if (!at_end) shuffle_perhaps(order);
        for (std::size_t i = 0; i < order.size(); ++i) {
            const std::uint64_t number = order[i];
            std::string grain = grain_of(said, number, grain_size);
            if (short_last && (number + 1) * grain_size > said.size())
                grain.resize((said.size() - number * grain_size) * sector);
            const std::string packed = compress(grain, level);
            const std::uint64_t at = take(divide_up(12 + packed.size(), sector));
            entries[number] = static_cast<std::uint32_t>(at);
            file.put64(at * sector, number * grain_size).put32(at * sector + 8, packed.size());
            file.put_text(at * sector + 12, packed).resize(next * sector);
            const std::uint64_t table = number / per_table;
            if (at_end && (i + 1 == order.size() || order[i + 1] / per_table != table)) {
                put_marker(table_sectors, 1);
                places[table] = take(table_sectors);
                file.put_text(places[table] * sector, table_of(entries, table, per_table))
                    .resize(next * sector);
            }
        }
        Header header{.version = 3,
                      .flags = 0x30001U | (is_redundant ? 2U : 0U),
                      .capacity = said.size(),
                      .grain_size = grain_size,
                      .descriptor_sectors = descriptor_sectors,
                      .per_table = per_table,
                      .redundant_directory = redundant_directory,
                      .directory = directory,
                      .overhead = overhead,
                      .algorithm = 1};
        if (at_end) {
            put_marker(directory_sectors, 2);
            header.directory = take(directory_sectors);
            for (std::size_t i = 0; i < tables; ++i) file.put32(header.directory * sector + 4 * i, places[i]);
            file.resize(next * sector);
            put_marker(1, 3);
            const std::uint64_t footer = take(1);
            put_sparse_header(file, footer, header);
            file.resize(next * sector);
            put_marker(0, 0);
            header.directory = coin() ? ~std::uint64_t{0} : header.directory;
        } else {
            put_directory(file, directory, places, entries, per_table);
            if (is_redundant) put_directory(file, redundant_directory, redundant_places, entries, per_table);
        }
        put_sparse_header(file, 0, header);
        file.put_text(sector, descriptor);
        return file.bytes();
    }

    static std::string compress(const std::string& bytes, int level) {
        const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
            libdeflate_alloc_compressor(level), libdeflate_free_compressor);
        std::string packed(libdeflate_zlib_compress_bound(compressor.get(), bytes.size()), '\0');
        packed.resize(libdeflate_zlib_compress(compressor.get(), bytes.data(), bytes.size(), packed.data(),
                                               packed.size()));
        require(!packed.empty(), "a grain can be compressed");
        return packed;
    }

    // 8: tables come into being with their first grain.
    std::string make_cowd(Said& said) {
        constexpr std::uint64_t per_table = 4096;
        const std::uint64_t grain_size = std::uint64_t{1} << any(0, 5);
        const std::vector<std::uint64_t> stored = choose_grains(said, grain_size, false);
        std::vector<std::uint32_t> entries(divide_up(said.size(), grain_size));
        const std::uint64_t tables = divide_up(entries.size(), per_table);
        std::uint64_t next = 5 + any(0, 2);
        std::vector<std::uint64_t> places(tables);
        if (!stored.empty()) places[0] = std::exchange(next, next + 32);  // a disk of this size has no more
        std::vector<std::uint64_t> order = stored;
        shuffle_perhaps(order);
        for (const std::uint64_t number : order)
            entries[number] = static_cast<std::uint32_t>(std::exchange(next, next + grain_size));
        Blob file(next);
        file.put_text(0, "COWD").put32(4, 1).put32(8, 3).put32(12, said.size()).put32(16, grain_size);
        file.put32(20, 4).put32(24, tables).put32(28, next);
        put_directory(file, 4, places, entries, per_table);
        for (const std::uint64_t number : stored)
            file.put_text(entries[number] * sector, grain_of(said, number, grain_size));
        return file.bytes();
    }

    // 9: header, volatile header, directory, tables, grains, which are numbered.
    std::string make_se_sparse(Said& said) {
        constexpr std::uint64_t grain_size = 8;
        constexpr std::uint64_t table_sectors = 64;
        const std::vector<std::uint64_t> stored = choose_grains(said, grain_size, true);
        const std::uint64_t grains = divide_up(said.size(), grain_size);
        std::vector<std::uint64_t> order = stored;
        shuffle_perhaps(order);
        const std::uint64_t skipped = any(0, 5);
        const std::uint64_t directory = 2 + any(0, 2);
        const std::uint64_t table = directory + 1;
        const std::uint64_t data = table + table_sectors;
        const std::uint64_t data_sectors = (skipped + order.size()) * grain_size;
        Blob file(data + data_sectors);
        file.put64(0, 0xcafebabe).put64(8, 0x0000000200000001).put64(16, said.size()).put64(24, grain_size);
        file.put64(32, table_sectors).put64(80, 1).put64(88, 1).put64(128, directory).put64(136, 1);
        file.put64(144, table).put64(152, table_sectors).put64(192, data).put64(200, data_sectors);
        file.put64(sector, 0xcafecafe);
        for (std::uint64_t i = 0; i < grains; ++i)
            if (said.kinds[i * grain_size] == Said::zeros)
                file.put64(table * sector + 8 * i, std::uint64_t{1 + any(0, 1)} << 60);
        for (std::uint64_t i = 0; i < order.size(); ++i) {
            const std::uint64_t number = skipped + i;
            file.put64(table * sector + 8 * order[i],
                       std::uint64_t{3} << 60 | (number & 0xfff) << 48 | number >> 12);
            file.put_text((data + number * grain_size) * sector, grain_of(said, order[i], grain_size));
        }
        if (grains > 0) file.put64(directory * sector, std::uint64_t{0x10000000} << 32);
        return file.bytes();
    }

    FuzzedDataProvider& bytes_;
    unsigned link_ = 0;
    ValidImage image_;
    std::vector<bool> decided_;  // by sector of the disk
};

}  // namespace

ValidImage make_valid_image(FuzzedDataProvider& bytes) { return ImageMaker(bytes).make(); }

}  // namespace vmdkdm::test
