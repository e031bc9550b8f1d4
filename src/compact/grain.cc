#include "compact/grain.h"

#include <libdeflate.h>

#include <algorithm>
#include <new>

#include "base/concat.h"
#include "base/error.h"
#include "base/little_endian.h"

namespace vmdkdm {
namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::size_t window_size = 256 << 10;

std::string at(const MappedFile& file, Sectors sector, const std::string& what) {
    return concat("'", file.file->path(), "': the compressed grain at byte ", to_bytes(sector).count(), " ",
                  what);
}

}  // namespace

std::span<std::byte> Buffer::take(std::size_t size) {
    if (size > capacity_) {
        bytes_.reset();
        bytes_ = std::make_unique_for_overwrite<std::byte[]>(size);
        capacity_ = size;
    }
    return {bytes_.get(), size};
}

struct GrainInflater::Decompressor {
    libdeflate_decompressor* handle = ::libdeflate_alloc_decompressor();
    Decompressor() {
        if (handle == nullptr) throw std::bad_alloc();
    }
    ~Decompressor() { ::libdeflate_free_decompressor(handle); }
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;
};

GrainInflater::GrainInflater() : decompressor_(std::make_unique<Decompressor>()) {}
GrainInflater::~GrainInflater() = default;

// `size` bytes of the file, which holds them. Grains follow each other in most files, so a whole window is
// read.
std::span<const std::byte> GrainInflater::read(const File& file, Bytes offset, std::size_t size) {
    const std::uint64_t start = offset.count();
    const bool is_there = window_file_ == &file && start >= window_start_ &&
                          start - window_start_ <= window_bytes_.size() &&
                          size <= window_bytes_.size() - (start - window_start_);
    if (!is_there) {
        const std::uint64_t left = file.size().count() - start;
        const std::size_t count =
            static_cast<std::size_t>(std::min<std::uint64_t>(left, std::max(size, window_size)));
        window_file_ = nullptr;
        window_bytes_ = window_.take(count);
        file.read_at(offset, window_bytes_);
        window_file_ = &file;
        window_start_ = start;
    }
    return window_bytes_.subspan(static_cast<std::size_t>(start - window_start_), size);
}

// What is wrong with the header, or nothing; then `size` is that of the compressed data.
std::string GrainInflater::check_header(const MappedFile& file, Sectors sector, Sectors origin,
                                        std::size_t& size) {
    const std::uint64_t file_size = file.file->size().count();
    const std::uint64_t offset = to_bytes(sector).count();
    if (offset > file_size || file_size - offset < header_bytes)
        return at(file, sector, "lies beyond the end of the file");
    const std::span<const std::byte> header = read(*file.file, Bytes(offset), header_bytes);
    const std::uint64_t found = load_le64(header, 0);
    const std::uint64_t expected = (origin - file.grains->extent_start).count();
    if (found != expected)
        return at(file, sector, concat("is for sector ", found, " of the extent, expected ", expected));
    size = load_le32(header, 8);
    if (size == 0 || size > 2 * to_bytes(file.grains->grain_size).count())
        return at(file, sector, concat("has an impossible compressed size of ", size, " bytes"));
    if (size > file_size - offset - header_bytes) return at(file, sector, "ends beyond the end of the file");
    return "";
}

GrainInflater::Result GrainInflater::read(const MappedFile& file, Sectors sector, Sectors origin) {
    if (!file.grains) throw Error(ErrorKind::format, at(file, sector, "is of unknown size"));
    std::size_t size = 0;
    if (std::string problem = check_header(file, sector, origin, size); !problem.empty())
        return {{}, {}, std::move(problem)};
    return {{}, read(*file.file, to_bytes(sector), header_bytes + size), ""};
}

GrainInflater::Result GrainInflater::inflate(const MappedFile& file, Sectors sector, Sectors origin,
                                             std::span<std::byte> place) {
    const Result grain = read(file, sector, origin);
    if (!grain.problem.empty()) return grain;
    const GrainLayout& layout = *file.grains;
    const std::size_t whole = static_cast<std::size_t>(to_bytes(layout.grain_size).count());
    const Sectors inside = std::min(layout.grain_size, layout.extent_start + layout.extent_size - origin);
    const std::span<std::byte> out = place.size() >= whole ? place.first(whole) : inflated_.take(whole);
    const std::span<const std::byte> data = grain.stored.subspan(header_bytes);

    std::size_t used = 0;
    std::size_t made = 0;
    switch (::libdeflate_zlib_decompress_ex(decompressor_->handle, data.data(), data.size(), out.data(),
                                            out.size(), &used, &made)) {
        case LIBDEFLATE_SUCCESS:
            break;
        case LIBDEFLATE_INSUFFICIENT_SPACE:
            return {{}, {}, at(file, sector, concat("inflates to more than a grain of ", whole, " bytes"))};
        default:
            return {{}, {}, at(file, sector, "does not inflate")};
    }
    // The last grain of an extent may hold no more than what the extent does.
    if (made != whole && made != to_bytes(inside).count())
        return {{}, {}, at(file, sector, concat("inflates to ", made, " bytes, expected ", whole))};
    return {out.first(made), grain.stored, ""};
}

}  // namespace vmdkdm
