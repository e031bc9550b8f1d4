// The parts of vmdk-dm that touch no kernel, one at a time, for bench/compare: what a part works on is made
// first, and only what is inside counted() is counted. Without an argument it prints the names of the parts.
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/concat.h"
#include "dm/table.h"
#include "plan/plan.h"
#include "support/blob.h"
#include "support/memory_files.h"
#include "vmdk/check.h"
#include "vmdk/image_chain.h"

// Callgrind counts what runs below it (--toggle-collect=counted): it needs a name without C++, and no copies.
extern "C" __attribute__((noipa)) void counted(const std::function<void()>& part) {
    part();
    asm volatile("" ::: "memory");
}

namespace vmdkdm {
namespace {

constexpr std::uint64_t grain_sectors = 128;
constexpr std::uint64_t entries_per_table = 512;

std::string descriptor_text(const std::string& create_type, const std::vector<std::string>& extents,
                            const std::string& parent = "") {
    std::string text =
        concat("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=5a3b1e70\nparentCID=",
               parent.empty() ? "ffffffff" : "5a3b1e70", "\ncreateType=\"", create_type, "\"\n");
    if (!parent.empty()) text += concat("parentFileNameHint=\"", parent, "\"\n");
    for (const std::string& extent : extents) text += extent + "\n";
    return text + "ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"1024\"\n";
}

enum class Order { ascending, shuffled };

// A KDMV extent with `grains` grains, of which `every`-th is allocated.
std::string sparse_extent(std::uint64_t grains, Order order, std::uint64_t every = 1) {
    const std::uint64_t tables = (grains + entries_per_table - 1) / entries_per_table;
    const std::uint64_t directory = 1;
    const std::uint64_t first_table = directory + (tables * 4 + 511) / 512;
    const std::uint64_t overhead =
        (first_table + tables * 4 + grain_sectors - 1) / grain_sectors * grain_sectors;
    test::Blob blob(0);
    blob.put_text(0, "KDMV")
        .put32(4, 1)
        .put32(8, 1)
        .put64(12, grains * grain_sectors)
        .put64(20, grain_sectors);
    blob.put32(44, entries_per_table).put64(56, directory).put64(64, overhead).put_text(73, "\n \r\n");
    blob.resize(overhead * 512);
    std::vector<std::uint64_t> places(grains / every);
    std::iota(places.begin(), places.end(), 0);
    if (order == Order::shuffled) std::shuffle(places.begin(), places.end(), std::mt19937(1));
    for (std::uint64_t table = 0; table < tables; ++table)
        blob.put32(directory * 512 + table * 4, first_table + table * 4);
    for (std::uint64_t i = 0; i < places.size(); ++i)
        blob.put32(first_table * 512 + i * every * 4, overhead + places[i] * grain_sectors);
    return blob.bytes();
}

// A disk of one sparse extent below `directory`, without its grains' data.
void add_sparse_image(test::MemoryFiles& files, const std::string& name, std::string extent,
                      std::uint64_t grains, const std::string& parent = "") {
    const Bytes size(extent.size() + grains * grain_sectors * 512);
    files.add_with_tail(concat("/", name, "-s001.vmdk"), std::move(extent), size);
    files.add(
        concat("/", name, ".vmdk"),
        descriptor_text("twoGbMaxExtentSparse",
                        {concat("RW ", grains * grain_sectors, " SPARSE \"", name, "-s001.vmdk\"")}, parent));
}

BlockMap map_of(const std::string& path, test::MemoryFiles& files) {
    std::vector<std::string> notes;
    const ImageChain chain = read_chain(path, files, {}, notes);
    return map_chain(chain, files, {}, notes);
}

void descriptor_of_1000_extents() {
    std::vector<std::string> extents;
    for (int i = 0; i < 1000; ++i) extents.push_back(concat("RW 4192256 FLAT \"disk-f", i, ".vmdk\" 0"));
    const std::string text = descriptor_text("twoGbMaxExtentFlat", extents);
    counted([&] { parse_descriptor(text, "disk.vmdk"); });
}

void map_sparse(std::uint64_t grains, Order order, std::uint64_t every) {
    test::MemoryFiles files;
    add_sparse_image(files, "disk", sparse_extent(grains, order, every), grains);
    counted([&] { map_of("/disk.vmdk", files); });
}

void map_chain_of_8() {
    constexpr std::uint64_t grains = 1 << 15;
    test::MemoryFiles files;
    std::string parent;
    for (std::uint64_t depth = 0; depth < 8; ++depth) {
        const std::string name = concat("disk-", depth);
        add_sparse_image(files, name, sparse_extent(grains, Order::shuffled, depth == 0 ? 1 : 2 + depth),
                         grains, parent);
        parent = name + ".vmdk";
    }
    counted([&] { map_of("/" + parent, files); });
}

void plan(Strategy strategy) {
    constexpr std::uint64_t grains = 1 << 17;
    test::MemoryFiles files;
    add_sparse_image(files, "disk", sparse_extent(grains, Order::shuffled), grains);
    const BlockMap map = map_of("/disk.vmdk", files);
    PlanOptions options;
    options.name = "disk";
    options.id = "1";
    options.strategy = strategy;
    std::uint64_t written = 0;
    counted([&] {
        const Plan made = make_plan(map, options);
        made.disk.table.print(planned_names(made), [&](std::string_view lines) { written += lines.size(); });
        for (const LowerPlan& lower : made.lowers)
            if (lower.store)
                lower.store->write([&](Bytes, std::span<const std::byte> bytes) { written += bytes.size(); });
    });
    if (written == 0) std::abort();
}

void parse_table_of_100000_lines() {
    std::string text;
    for (std::uint64_t i = 0; i < 100'000; ++i)
        text += concat(i * grain_sectors, " ", grain_sectors, " linear 7:0 ",
                       (i * 7919 % 100'000) * grain_sectors, "\n");
    counted([&] { Table::parse(text); });
}

void check_sparse() {
    constexpr std::uint64_t grains = 1 << 17;
    test::MemoryFiles files;
    add_sparse_image(files, "disk", sparse_extent(grains, Order::shuffled), grains);
    counted([&] { check_image("/disk.vmdk", files, {}); });
}

const std::map<std::string, std::function<void()>> parts = {
    {"descriptor, 1,000 extents", descriptor_of_1000_extents},
    {"map, 2^17 shuffled grains", [] { map_sparse(1 << 17, Order::shuffled, 1); }},
    {"map, 2^20 grains in order", [] { map_sparse(1 << 20, Order::ascending, 1); }},
    {"map, every 8th of 2^20 grains", [] { map_sparse(1 << 20, Order::ascending, 8); }},
    {"map, chain of 8 links", map_chain_of_8},
    {"plan, linear, 2^17 runs", [] { plan(Strategy::linear); }},
    {"plan, exceptions, 2^17 runs", [] { plan(Strategy::exceptions); }},
    {"parse a table of 100,000 lines", parse_table_of_100000_lines},
    {"check, 2^17 shuffled grains", check_sparse},
};

}  // namespace
}  // namespace vmdkdm

int main(int count, char** words) {
    using vmdkdm::parts;
    if (count == 1) {
        for (const auto& [name, part] : parts) std::cout << name << "\n";
        return 0;
    }
    const auto part = parts.find(words[1]);
    if (part == parts.end()) {
        std::cerr << "no part is called '" << words[1] << "'\n";
        return 2;
    }
    part->second();
    return 0;
}
