// What a confined child hands back, or the embedded kernel sends, when the bytes that it read have taken it
// over. The first byte says whose answer the others are, the second how many of them come at a time.
//
// Each is a value or a refusal by BadValue (of a tree: an Error), takes memory for what is there and not for
// what it says, and is the same in one piece and in many.
#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "compact/copy_value.h"
#include "confine/file_server.h"
#include "embedded/tree_stream.h"
#include "fuzz/check.h"
#include "kernel/probe_value.h"
#include "reader/chain_value.h"
#include "reader/check_value.h"
#include "reader/map_value.h"
#include "support/memory_files.h"

namespace vmdkdm {
namespace {

using Input = std::span<const std::byte>;

// In bytes, of those that were asked for while they are counted.
std::size_t largest_allocation = 0;
bool is_counting = false;

void count_allocation(const volatile void*, std::size_t size) {
    if (is_counting) largest_allocation = std::max(largest_allocation, size);
}
void ignore_free(const volatile void*) {}

// An input has 20 KiB; what is made of a byte of it has some ten.
constexpr std::size_t most_at_once = 1 << 20;

const std::vector<FilePtr>& files() {
    static test::MemoryFiles memory;
    static const std::vector<FilePtr> all = {memory.add_hole("/vm/disk.vmdk", Bytes(1000 * 512)),
                                             memory.add_hole("/vm/b", Bytes(50 * 512 + 256))};
    return all;
}

BlockMap small_map() {
    BlockMap::Builder map;
    const std::uint32_t file = map.add_file(files()[0], 0);
    map.append(Sectors(1000), Stored{file, Sectors(0)});
    map.append(Sectors(1000), Zero{0});
    return std::move(map).build();
}

void check_chain(Decoder& from) {
    const ImageChain chain = decode_chain(from, files(), "disk.vmdk");
    test::require(!chain.images.empty() && chain.images.size() <= files().size(), "a file is one link");
    for (const Image& image : chain.images)
        test::require(image.descriptor.capacity() <= max_capacity, "a disk has a size");
    decode_broken(from);
    decode_texts(from);
}

void check_map(Decoder& from) {
    const BlockMap map = decode_map(from, files(), 2);
    test::require(map.capacity() <= max_capacity, "a disk has a size");
    for (const Run& run : map) {
        test::require(run.length > Sectors(0), "a run is not empty");
        if (const auto* stored = std::get_if<Stored>(&run.content))
            test::require(to_bytes(stored->sector + run.length) <= map.files()[stored->file].file->size(),
                          "a run lies within its file");
    }
}

void check_report(Decoder& from) { decode_report(from); }

void check_copy(Decoder& from) {
    static const BlockMap map = small_map();
    CopyOptions options;
    options.allow_damaged = true;
    options.hashes = {HashAlgorithm::sha256, HashAlgorithm::md5};
    const CopyResult result = decode_result(from, map, options);
    test::require(
        result.copied + result.reflinked + result.inflated + result.zero <= to_bytes(map.capacity()),
        "no more is copied than there is");
    test::require(result.hashes.size() == 2, "what was asked for is there");
}

void check_hashes(Decoder& from) {
    static const BlockMap map = small_map();
    const FileHashes hashes = decode_hashes(from, 2, &map);
    test::require(hashes.files.size() == 2 && hashes.disk.has_value(), "what was asked for is there");
}

void check_partitions(Decoder& from) {
    std::set<unsigned> numbers;
    for (const Partition& partition : decode_partitions(from).partitions)
        test::require(numbers.insert(partition.number).second, "a partition has a number of its own");
}

void check_content(Decoder& from) { decode_content(from); }

// A child's requests are answered by files that the rules allow.
void check_request(Decoder& from) {
    static test::MemoryFiles memory;
    static const FilePtr image = memory.add("/vm/disk.vmdk", "x");
    const std::set<std::string> loaded = {"windows-1252"};
    FileServer server(memory, "/vm/disk.vmdk", loaded);
    Encoder first;
    first.number(0);
    Decoder asked(first.bytes());
    server.answer(asked);
    try {
        server.answer(from);
    } catch (const Error&) {
    } catch (const EncodingNeeded& needed) {
        test::require(needed.name.find('/') == std::string::npos, "a character set is no path");
    }
    for (const FilePtr& file : server.files())
        test::require(file->path() == "/vm/disk.vmdk", "nothing is opened that is not there");
}

struct Answer {
    void (*decode)(Decoder&);
    bool is_whole;  // to be read to its end
};
constexpr Answer answers[] = {{check_chain, true},   {check_map, true},     {check_report, true},
                              {check_copy, true},    {check_hashes, true},  {check_partitions, true},
                              {check_content, true}, {check_request, false}};
constexpr std::size_t tree = std::size(answers);

// Why it is none; empty when it is.
std::string refusal(const Answer& answer, Decoder from) {
    std::string why;
    largest_allocation = 0;
    is_counting = true;
    try {
        answer.decode(from);
        if (answer.is_whole) from.expect_end();
    } catch (const BadValue& error) {
        is_counting = false;
        why = error.what();
        test::require(!why.empty(), "a refusal has a reason");
    }
    is_counting = false;
    test::require(largest_allocation <= most_at_once, "nothing is reserved for what is not there");
    return why;
}

void check_answer(const Answer& answer, Input bytes, std::size_t piece) {
    const std::string whole = refusal(answer, Decoder(bytes));
    if (!answer.is_whole) return;  // it comes in one message
    Input left = bytes;
    const auto more = [&left, piece] {
        const Input next = left.first(std::min(piece, left.size()));
        left = left.subspan(next.size());
        return next;
    };
    const std::string streamed = refusal(answer, Decoder(more, max_value));
    test::require(whole.empty() == streamed.empty(), "pieces make no difference");
}

// What is a record is so again, and says the same.
void check_tree(Input bytes) {
    std::size_t at = 0;
    const FillFrom stream = [&](char* buffer, std::size_t size) {
        const std::size_t got = std::min(size, bytes.size() - at);
        std::memcpy(buffer, bytes.data() + at, got);
        at += got;
        return got;
    };
    try {
        for (;;) {
            const std::size_t start = at;
            const TreeRecord record = read_record(stream);
            const std::string again = to_bytes(record);
            test::require(
                again.size() == at - start && std::memcmp(again.data(), &bytes[start], again.size()) == 0,
                "a record is the bytes that it came from");
            if (std::holds_alternative<TreeEnd>(record)) return;
        }
    } catch (const Error& error) {
        test::require(*error.what() != '\0', "an error says something");
    }
}

}  // namespace
}  // namespace vmdkdm

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    __sanitizer_install_malloc_and_free_hooks(vmdkdm::count_allocation, vmdkdm::ignore_free);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    if (size < 2) return 0;
    const std::size_t which = data[0] % (tree + 1);
    const auto bytes = std::as_bytes(std::span(data, size)).subspan(2);
    if (which == tree)
        check_tree(bytes);
    else
        check_answer(answers[which], bytes, std::size_t{1} + data[1]);
    return 0;
}
