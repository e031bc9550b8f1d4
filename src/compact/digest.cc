#include "compact/digest.h"

#include <nettle/md5.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <array>
#include <variant>

namespace vmdkdm {
namespace {

struct Md5 {
    md5_ctx context;
    static constexpr std::size_t digest_bytes = MD5_DIGEST_SIZE;
    Md5() { ::md5_init(&context); }
    void update(std::size_t count, const std::uint8_t* bytes) { ::md5_update(&context, count, bytes); }
    void finish(std::uint8_t* digest) { ::md5_digest(&context, digest_bytes, digest); }
};

struct Sha1 {
    sha1_ctx context;
    static constexpr std::size_t digest_bytes = SHA1_DIGEST_SIZE;
    Sha1() { ::sha1_init(&context); }
    void update(std::size_t count, const std::uint8_t* bytes) { ::sha1_update(&context, count, bytes); }
    void finish(std::uint8_t* digest) { ::sha1_digest(&context, digest_bytes, digest); }
};

struct Sha256 {
    sha256_ctx context;
    static constexpr std::size_t digest_bytes = SHA256_DIGEST_SIZE;
    Sha256() { ::sha256_init(&context); }
    void update(std::size_t count, const std::uint8_t* bytes) { ::sha256_update(&context, count, bytes); }
    void finish(std::uint8_t* digest) { ::sha256_digest(&context, digest_bytes, digest); }
};

constexpr std::array algorithms = {HashAlgorithm::md5, HashAlgorithm::sha1, HashAlgorithm::sha256};

// Stays in the cache while it is hashed over and over.
constexpr std::array<std::byte, 16384> zeros{};

}  // namespace

std::string to_hex(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<unsigned>(byte) >> 4];
        text += digits[std::to_integer<unsigned>(byte) & 15];
    }
    return text;
}

std::string_view to_string(HashAlgorithm algorithm) {
    switch (algorithm) {
        case HashAlgorithm::md5:
            return "md5";
        case HashAlgorithm::sha1:
            return "sha1";
        case HashAlgorithm::sha256:
            break;
    }
    return "sha256";
}

std::optional<HashAlgorithm> parse_hash_algorithm(std::string_view name) {
    for (const HashAlgorithm algorithm : algorithms)
        if (to_string(algorithm) == name) return algorithm;
    return std::nullopt;
}

struct Hasher::State {
    std::variant<Md5, Sha1, Sha256> hash;
};

Hasher::Hasher(HashAlgorithm algorithm) : state_(std::make_unique<State>()) {
    switch (algorithm) {
        case HashAlgorithm::md5:
            state_->hash.emplace<Md5>();
            break;
        case HashAlgorithm::sha1:
            state_->hash.emplace<Sha1>();
            break;
        case HashAlgorithm::sha256:
            state_->hash.emplace<Sha256>();
            break;
    }
}

Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

HashAlgorithm Hasher::algorithm() const { return algorithms[state_->hash.index()]; }

void Hasher::update(std::span<const std::byte> bytes) {
    const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
    std::visit([&](auto& hash) { hash.update(bytes.size(), data); }, state_->hash);
}

void Hasher::update_zeros(std::uint64_t count) {
    for (; count > zeros.size(); count -= zeros.size()) update(zeros);
    update(std::span(zeros).first(static_cast<std::size_t>(count)));
}

std::string Hasher::finish() {
    return std::visit(
        [](auto& hash) {
            std::array<std::uint8_t, std::remove_reference_t<decltype(hash)>::digest_bytes> digest{};
            hash.finish(digest.data());
            return to_hex(std::as_bytes(std::span(digest)));
        },
        state_->hash);
}

}  // namespace vmdkdm
