#include "plan/exception_store.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"

namespace vmdkdm {
namespace {

// struct disk_header: in chunk 0.
constexpr std::size_t magic_offset = 0;
constexpr std::size_t valid_offset = 4;
constexpr std::size_t version_offset = 8;
constexpr std::size_t chunk_size_offset = 12;  // in sectors
constexpr std::size_t header_bytes = 16;
constexpr std::uint32_t magic = 0x70416e53;  // "SnAp"
constexpr std::uint32_t version = 1;

std::uint64_t chunk_bytes(Sectors chunk) { return to_bytes(chunk).count(); }
std::uint64_t exceptions_per_area(Sectors chunk) { return chunk_bytes(chunk) / sizeof(Exception); }

// One chunk each. The list ends inside an area, so one that is exactly full is followed by an empty one.
std::uint64_t areas_for(Sectors chunk, std::uint64_t count) { return count / exceptions_per_area(chunk) + 1; }

// In chunks. After each area comes as much data as its exceptions can name.
std::uint64_t area_position(Sectors chunk, std::uint64_t area) {
    return 1 + area * (exceptions_per_area(chunk) + 1);
}

void check_chunk(Sectors chunk) {
    if (!std::has_single_bit(chunk.count()) || chunk_bytes(chunk) < header_bytes)
        throw Error(ErrorKind::format,
                    concat("an exception store cannot have chunks of ", chunk.count(), " sectors"));
}

void check_chunks(std::uint64_t count) {
    if (count > most_chunks) throw UnitOverflow();
}

void store_le(std::span<std::byte> bytes, std::size_t offset, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i)
        bytes[offset + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

// dm_exception_store_set_chunk_size(): less than 2^31 bytes.
constexpr Sectors largest_chunk_found{std::uint64_t{1} << 21};

// An area may be as large as a gigabyte; no more than this is held in memory of it.
constexpr std::uint64_t read_size = 256 << 10;

class StoreReader {
  public:
    StoreReader(const CowArea& cow, Sectors capacity) : cow_(cow), capacity_(capacity) {}

    std::optional<FoundStore> read() {
        if (!read_header()) return std::nullopt;
        for (std::uint64_t area = 0; read_area(area); ++area) {
        }
        find_next_free();
        return std::move(store_);
    }

  private:
    [[noreturn]] static void fail(const std::string& what) { throw Error(ErrorKind::format, what); }

    // False for a magic number of 0, by which the kernel knows a COW device that is new.
    bool read_header() {
        if (cow_.size < Bytes(header_bytes)) fail("not an exception store");
        std::array<std::byte, header_bytes> header{};
        cow_.file->read_at(cow_.start, header);
        if (load_le32(header, magic_offset) == 0) return false;
        if (load_le32(header, magic_offset) != magic) fail("not an exception store");
        if (load_le32(header, version_offset) != version)
            fail("the exception store is of an unknown version");
        store_.valid = load_le32(header, valid_offset) == 1;
        store_.chunk = Sectors(load_le32(header, chunk_size_offset));
        check_chunk(store_.chunk);
        if (store_.chunk > largest_chunk_found)
            fail(concat("an exception store cannot have chunks of ", store_.chunk.count(), " sectors"));
        most_ = (capacity_.count() + store_.chunk.count() - 1) / store_.chunk.count();
        return true;
    }

    // False when the list ends in it.
    bool read_area(std::uint64_t area) {
        const std::uint64_t size = chunk_bytes(store_.chunk);
        const Bytes begin(checked_multiply(area_position(store_.chunk, area), size));
        if (begin + Bytes(size) > cow_.size) fail("the exception store ends inside its list");
        buffer_.resize(std::min(size, read_size));
        for (std::uint64_t done = 0; done < size; done += buffer_.size()) {
            cow_.file->read_at(cow_.start + begin + Bytes(done), buffer_);
            if (!take(buffer_)) return false;
        }
        return true;
    }

    bool take(std::span<const std::byte> entries) {
        for (std::size_t at = 0; at < entries.size(); at += sizeof(Exception)) {
            const Exception exception{load_le64(entries, at), load_le64(entries, at + 8)};
            if (exception.new_chunk == 0) return false;
            if (exception.new_chunk >> chunk_number_bits != 0)
                fail(concat("the exception store is damaged: there is no chunk ", exception.new_chunk));
            if (store_.exceptions.size() == most_)
                fail(concat("the exception store lists more than the ", most_, " chunks of the disk"));
            store_.exceptions.push_back(exception);
        }
        return true;
    }

    // persistent_ctr(), insert_exceptions() and skip_metadata(), which the kernel's status goes by.
    void find_next_free() {
        std::uint64_t next = 2;
        for (const Exception& exception : store_.exceptions) next = std::max(next, exception.new_chunk + 1);
        store_.next_free = is_metadata(store_.chunk, next) ? next + 1 : next;
    }

    const CowArea& cow_;
    Sectors capacity_;
    std::uint64_t most_ = 0;
    FoundStore store_;
    std::vector<std::byte> buffer_;
};

}  // namespace

void ExceptionList::add(const Exception& first, std::uint64_t count) {
    constexpr std::uint64_t most = 256;  // of a stretch: one more than eight bits hold
    check_chunks(checked_add(first.new_chunk, count));
    for (std::uint64_t done = 0; done < count; done += most) {
        const std::uint64_t more = std::min(most, count - done) - 1;
        stretches_.push_back(
            {checked_add(first.old_chunk, done), more << chunk_number_bits | (first.new_chunk + done)});
    }
    size_ += count;
}

ExceptionStore::ExceptionStore(Sectors chunk, std::uint64_t span, ExceptionList exceptions)
    : chunk_(chunk), span_(span), exceptions_(std::move(exceptions)) {
    check_chunk(chunk);
    if (span < span_of(chunk, exceptions_.size()))
        throw Error(ErrorKind::format, "an exception store does not fit into its span");
    check_chunks(span);
}

std::uint64_t ExceptionStore::span_of(Sectors chunk, std::uint64_t count) {
    return area_position(chunk, areas_for(chunk, count) - 1) + 1;
}

Bytes ExceptionStore::size() const { return Bytes(checked_multiply(span_, chunk_bytes(chunk_))); }

Bytes ExceptionStore::written_size() const {
    return Bytes((1 + areas_for(chunk_, exceptions_.size())) * chunk_bytes(chunk_));
}

void ExceptionStore::write(const StoreWriter::Put& put) const {
    StoreWriter writer(chunk_, put);
    exceptions_.from_the_end([&](const Exception& exception) {
        writer.add({exception.old_chunk, exception.new_chunk + span_});
    });
    writer.finish();
}

StoreWriter::StoreWriter(Sectors chunk, Put put) : chunk_(chunk), put_(std::move(put)) {
    check_chunk(chunk);
    area_.resize(chunk_bytes(chunk));
    store_le(area_, magic_offset, magic, 4);
    store_le(area_, valid_offset, 1, 4);
    store_le(area_, version_offset, version, 4);
    store_le(area_, chunk_size_offset, chunk.count(), 4);
    put_(Bytes(0), area_);
}

void StoreWriter::add(const Exception& exception) {
    store_le(area_, filled_, exception.old_chunk, 8);
    store_le(area_, filled_ + 8, exception.new_chunk, 8);
    filled_ += sizeof(Exception);
    if (filled_ == area_.size()) put_area();  // and a list that ends here is ended by an empty one
}

void StoreWriter::put_area() {
    std::fill(area_.begin() + static_cast<std::ptrdiff_t>(filled_), area_.end(), std::byte{0});
    put_(Bytes(area_position(chunk_, areas_++) * chunk_bytes(chunk_)), area_);
    filled_ = 0;
}

bool is_metadata(Sectors chunk, std::uint64_t number) {
    return number == 0 || (number - 1) % (exceptions_per_area(chunk) + 1) == 0;
}

std::optional<FoundStore> read_exception_store(const CowArea& cow, Sectors capacity) {
    return StoreReader(cow, capacity).read();
}

}  // namespace vmdkdm
