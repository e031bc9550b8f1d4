#include "compact/copy_value.h"

#include <algorithm>

namespace vmdkdm {
namespace {

constexpr std::size_t max_text = 16 << 10;

std::size_t hex_digits(HashAlgorithm algorithm) {
    switch (algorithm) {
        case HashAlgorithm::md5:
            return 32;
        case HashAlgorithm::sha1:
            return 40;
        case HashAlgorithm::sha256:
            break;
    }
    return 64;
}

std::string decode_hex(Decoder& from, HashAlgorithm algorithm) {
    std::string hex = from.text(hex_digits(algorithm));
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (hex.size() != hex_digits(algorithm) || !std::all_of(hex.begin(), hex.end(), is_digit))
        throw BadValue("a hash is none");
    return hex;
}

std::uint64_t index_of(const BlockMap& map, const FilePtr& file) {
    for (std::size_t i = 0; i < map.files().size(); ++i)
        if (map.files()[i].file == file) return i;
    return map.files().size();  // it has none
}

DamagedRange decode_range(Decoder& from, const BlockMap& map) {
    DamagedRange range;
    range.start = Sectors(from.number(map.capacity().count(), "the start of a damaged range"));
    range.length =
        Sectors(from.number((map.capacity() - range.start).count(), "the length of a damaged range"));
    if (range.length == Sectors(0)) throw BadValue("a damaged range is empty");
    const auto file =
        static_cast<std::size_t>(from.number(map.files().size(), "the file of a damaged range"));
    if (file < map.files().size()) range.file = map.files()[file].file;
    range.offset =
        Bytes(from.number(range.file ? range.file->size().count() : 0, "the place of a damaged grain"));
    range.reason = from.text(max_text);
    return range;
}

// An error that is told with the hashes.
void encode_problem(Encoder& to, const std::optional<Error>& error) {
    to.number(error ? 1 : 0);
    if (!error) return;
    to.number(static_cast<std::uint64_t>(error->kind()));
    to.text(std::string_view(error->what()).substr(0, max_text));
}

std::optional<Error> decode_problem(Decoder& from) {
    if (!from.flag()) return std::nullopt;
    switch (const auto kind = static_cast<ErrorKind>(from.number())) {
        case ErrorKind::system:
        case ErrorKind::format:
        case ErrorKind::refused:
        case ErrorKind::busy:
            return Error(kind, from.text(max_text));
        case ErrorKind::usage:
        case ErrorKind::not_found:
        case ErrorKind::changed:
            break;
    }
    throw BadValue("there is no such kind of error");
}

// Where there is an error there is no hash.
std::string decode_sha256(Decoder& from, bool has_error) {
    if (!has_error) return decode_hex(from, HashAlgorithm::sha256);
    if (!from.text(0).empty()) throw BadValue("a hash of what was not read");
    return "";
}

}  // namespace

void encode_result(Encoder& to, const CopyResult& result, const BlockMap& map) {
    for (const Bytes bytes : {result.copied, result.reflinked, result.inflated, result.zero})
        to.number(bytes.count());
    to.number(result.damaged.size());
    for (const DamagedRange& range : result.damaged) {
        to.number(range.start.count());
        to.number(range.length.count());
        to.number(index_of(map, range.file));
        to.number(range.offset.count());
        to.text(std::string_view(range.reason).substr(0, max_text));
    }
    to.number(result.hashes.size());
    for (const Digest& digest : result.hashes) to.text(digest.hex);
    if (!result.content.empty()) to.text(result.content);
}

CopyResult decode_result(Decoder& from, const BlockMap& map, const CopyOptions& options) {
    CopyResult result;
    Bytes left = to_bytes(map.capacity());
    for (Bytes* const bytes : {&result.copied, &result.reflinked, &result.inflated, &result.zero}) {
        *bytes = Bytes(from.number(left.count(), "the size of what was copied"));
        left = left - *bytes;
    }
    Sectors end;
    for (std::size_t count = from.count(5 * sizeof(std::uint64_t), "the number of damaged ranges"); count > 0;
         --count) {
        result.damaged.push_back(decode_range(from, map));
        if (result.damaged.back().start < end) throw BadValue("damaged ranges overlap");
        end = result.damaged.back().start + result.damaged.back().length;
    }
    if (!options.allow_damaged && !result.damaged.empty())
        throw BadValue("damage that ought to have been refused");
    if (from.number() != options.hashes.size()) throw BadValue("hashes are missing");
    for (const HashAlgorithm algorithm : options.hashes)
        result.hashes.push_back({algorithm, decode_hex(from, algorithm)});
    if (options.content) result.content = decode_hex(from, HashAlgorithm::sha256);
    return result;
}

void encode_hashes(Encoder& to, const FileHashes& hashes) {
    for (const FileHash& hash : hashes.files) {
        encode_problem(to, hash.error);
        to.text(hash.sha256);
        to.number(hash.modified ? 1 : 0);
        if (!hash.modified) continue;
        to.number(static_cast<std::uint64_t>(hash.modified->tv_sec));
        to.number(static_cast<std::uint64_t>(hash.modified->tv_nsec));
    }
    if (!hashes.disk) return;
    encode_problem(to, hashes.disk->error);
    to.text(hashes.disk->sha256);
    to.number(hashes.disk->unreadable.count());
}

FileHashes decode_hashes(Decoder& from, std::size_t files, const BlockMap* disk) {
    FileHashes hashes;
    for (std::size_t i = 0; i < files; ++i) {
        FileHash hash;
        hash.error = decode_problem(from);
        hash.sha256 = decode_sha256(from, hash.error.has_value());
        if (from.flag()) {
            timespec& modified = hash.modified.emplace();
            modified.tv_sec = static_cast<time_t>(from.number());
            modified.tv_nsec = static_cast<long>(from.number(999'999'999, "a fraction of a second"));
        }
        hashes.files.push_back(std::move(hash));
    }
    if (disk == nullptr) return hashes;
    DiskHash& hash = hashes.disk.emplace();
    hash.error = decode_problem(from);
    hash.sha256 = decode_sha256(from, hash.error.has_value());
    hash.unreadable = Bytes(from.number(to_bytes(disk->capacity()).count(), "what could not be read"));
    return hashes;
}

}  // namespace vmdkdm
