// The exception stores that we write. Of a list of exceptions: what is read from the store, as the kernel
// reads it, is the list. Of any runs of a disk: what the planned devices would show, with the exceptions as
// they are read from the store's bytes, is the same runs.
#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fuzz/check.h"
#include "fuzz/written_file.h"
#include "plan/exception_store.h"
#include "plan/plan.h"
#include "support/memory_files.h"
#include "support/plan_model.h"

namespace vmdkdm {
namespace {

using test::require;

// Single ones, and stretches of neighbours as a run gives them.
ExceptionList any_exceptions(FuzzedDataProvider& bytes) {
    ExceptionList list;
    while (bytes.remaining_bytes() > 0 && list.size() < 5000) {
        const std::uint64_t old_chunk = bytes.ConsumeIntegral<std::uint32_t>();
        const bool is_far = bytes.ConsumeBool();
        const std::uint64_t new_chunk =
            is_far ? bytes.ConsumeIntegralInRange<std::uint64_t>(1, most_chunks - 4096)
                   : bytes.ConsumeIntegralInRange<std::uint64_t>(1, 4096);
        const auto count = bytes.ConsumeIntegralInRange<std::uint64_t>(1, 2048);
        const bool is_stretch = bytes.ConsumeBool();
        list.add({old_chunk, new_chunk}, is_stretch ? count : 1);
    }
    return list;
}

// Written anew from read_super(), area_location() and insert_exceptions() of dm-snap-persistent.c: shares
// nothing with the code under test.
std::vector<Exception> read_as_the_kernel_does(const File& store) {
    const auto load = [&store](std::uint64_t offset, std::size_t width) {
        std::array<std::byte, 8> bytes{};
        store.read_at(Bytes(offset), std::span(bytes).first(width));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < width; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
        return value;
    };
    require(load(0, 4) == 0x70416e53 && load(4, 4) == 1 && load(8, 4) == 1, "a valid snapshot of version 1");
    const std::uint64_t chunk_bytes = load(12, 4) * 512;
    const std::uint64_t exceptions_per_area = chunk_bytes / 16;
    std::vector<Exception> list;
    for (std::uint64_t area = 0;; ++area) {
        const std::uint64_t start = (1 + (exceptions_per_area + 1) * area) * chunk_bytes;
        for (std::uint64_t i = 0; i < exceptions_per_area; ++i) {
            const Exception exception{load(start + 16 * i, 8), load(start + 16 * i + 8, 8)};
            if (exception.new_chunk == 0) return list;
            list.push_back(exception);
        }
    }
}

void check_list(FuzzedDataProvider& bytes) {
    const Sectors chunk(std::uint64_t{1} << bytes.ConsumeIntegralInRange<unsigned>(0, 11));
    const auto spare = bytes.ConsumeIntegralInRange<std::uint64_t>(0, 1 << 20);
    ExceptionList added = any_exceptions(bytes);
    const std::uint64_t span = ExceptionStore::span_of(chunk, added.size()) + spare;
    std::vector<Exception> list;
    added.from_the_end([&](const Exception& exception) {
        list.push_back({exception.old_chunk, exception.new_chunk + span});
    });
    const ExceptionStore store(chunk, span, std::move(added));
    test::WrittenFile file("/store", {1, 1});
    file.set_size(store.size());
    store.write([&](Bytes offset, std::span<const std::byte> piece) { file.put(offset, piece); });
    require(file.end() <= store.size(), "nothing is written behind the store's end");
    require(file.written() == store.written_size(), "as much is written as was said");
    require(read_as_the_kernel_does(file) == list, "the kernel finds the exceptions");
    const std::optional<FoundStore> found = read_exception_store({&file, Bytes(0), file.size()});
    require(found && found->valid, "we find a store, and take it for valid");
    require(found->chunk == chunk, "we find the size of a chunk");
    require(found->exceptions == list, "we find the exceptions");
    for (const Exception& exception : list)
        require(exception.new_chunk < found->next_free, "the kernel would write behind them");
}

BlockMap any_disk(FuzzedDataProvider& bytes) {
    test::MemoryFiles files;
    BlockMap::Builder builder;
    std::vector<FileIndex> indexes;
    std::vector<std::uint64_t> sizes;
    for (unsigned i = 0, count = bytes.ConsumeIntegralInRange<unsigned>(1, 3); i < count; ++i) {
        sizes.push_back(bytes.ConsumeIntegralInRange<std::uint64_t>(4096, 1 << 20));
        const FileKind kind = bytes.ConsumeBool() ? FileKind::regular : FileKind::block_device;
        indexes.push_back(
            builder.add_file(files.add_hole(concat("/", i), to_bytes(Sectors(sizes.back())), kind), i));
    }
    const std::uint64_t unit = std::uint64_t{1} << bytes.ConsumeIntegralInRange<unsigned>(0, 8);
    const std::uint32_t why = builder.add_reason({Reason::Kind::damage, "damaged"});
    while (bytes.remaining_bytes() > 0 && builder.length() < Sectors(1 << 22)) {
        const std::uint64_t length = bytes.ConsumeIntegralInRange<std::uint64_t>(1, 64) * unit;
        const auto kind = bytes.ConsumeIntegralInRange<unsigned>(0, 9);
        const std::size_t file = bytes.ConsumeIntegralInRange<std::size_t>(0, indexes.size() - 1);
        const auto sector = bytes.ConsumeIntegralInRange<std::uint64_t>(0, sizes[file] - 1) / unit * unit;
        const std::uint64_t odd = bytes.ConsumeIntegralInRange<std::uint64_t>(0, 15) == 0 ? 1 : 0;
        if (kind == 0)
            builder.append(Sectors(length + odd), Zero{0});
        else if (kind == 1)
            builder.append(Sectors(length), Unreadable{0, why});
        else
            builder.append(Sectors(std::min(length + odd, sizes[file] - sector)),
                           Stored{indexes[file], Sectors(sector)});
    }
    if (builder.length() == Sectors(0)) builder.append(Sectors(1), Zero{0});
    return std::move(builder).build();
}

std::string shown(const BlockMap& map, const Run& run, Sectors sector) {
    if (const auto* stored = std::get_if<Stored>(&run.content))
        return concat(map.files()[stored->file].file->path(), ":",
                      (stored->sector + (sector - run.start)).count());
    return std::holds_alternative<Zero>(run.content) ? "zero" : "error";
}

// Chunks begin at multiples of 8 sectors: between such sectors and the ends of runs nothing can change.
void check_disk(const BlockMap& map, const Plan& plan) {
    const test::PlanModel model(plan);
    constexpr std::uint64_t smallest_chunk = 8;
    std::uint64_t looks = 0;
    for (const Run& run : map)
        for (Sectors at = run.start; at < run.start + run.length && looks < 4000; ++looks) {
            require(model.at(at) == shown(map, run, at), "the plan shows what the map says");
            const Sectors last = run.start + run.length - Sectors(1);
            const std::uint64_t border = (at.count() / smallest_chunk + 1) * smallest_chunk;
            at = at == last ? last + Sectors(1) : std::min(Sectors(border), last);
        }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    FuzzedDataProvider bytes(data, size);
    if (bytes.ConsumeBool()) {
        check_list(bytes);
        return 0;
    }
    const BlockMap map = any_disk(bytes);
    PlanOptions options;
    options.name = "fuzz";
    options.id = "1.1";
    options.loops = 8;
    for (const auto strategy : {std::optional(Strategy::exceptions), std::optional<Strategy>()}) {
        options.strategy = strategy;
        try {
            check_disk(map, make_plan(map, options));
        } catch (const Error& error) {
            require(strategy && error.kind() == ErrorKind::refused, "only exceptions may not fit a disk");
        }
    }
    return 0;
}
