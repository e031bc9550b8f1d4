#include "compact/content_digest.h"

#include <nettle/sha2.h>
#include <nettle/umac.h>
#include <sys/random.h>

#include <cerrno>

#include "base/error.h"
#include "compact/digest.h"

namespace vmdkdm {
namespace {

static_assert(sizeof(ContentKey) == UMAC_KEY_SIZE && sizeof(ContentDigester::Tag) == UMAC128_DIGEST_SIZE &&
              sizeof(ChunkDigest) == SHA256_DIGEST_SIZE);

const std::uint8_t* data_of(std::span<const std::byte> bytes) {
    return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

}  // namespace

ContentKey new_content_key() {
    ContentKey key{};
    if (::getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size()))
        throw system_error("no random numbers for the cache", errno);
    return key;
}

struct ContentDigester::State {
    umac128_ctx mac{};
    sha256_ctx hash{};
};

ContentDigester::ContentDigester(const ContentKey& key) : state_(std::make_unique<State>()) {
    ::umac128_set_key(&state_->mac, data_of(key));
    ::sha256_init(&state_->hash);
}

ContentDigester::~ContentDigester() = default;

ContentDigester::Tag ContentDigester::tag(std::span<const std::byte> bytes) {
    // The same for each: then tags are alike when bytes are. It hides nothing, and need not, since no tag is
    // ever seen.
    constexpr std::array<std::uint8_t, 1> nonce{};
    ::umac128_set_nonce(&state_->mac, nonce.size(), nonce.data());
    ::umac128_update(&state_->mac, bytes.size(), data_of(bytes));
    Tag tag{};
    ::umac128_digest(&state_->mac, tag.size(), reinterpret_cast<std::uint8_t*>(tag.data()));
    return tag;
}

void ContentDigester::add(const Run& run, const Tag& tag) {
    const auto* compressed = std::get_if<Compressed>(&run.content);
    const std::array<std::uint64_t, 4> numbers = {run.start.count(), run.length.count(), run.content.index(),
                                                  compressed != nullptr ? compressed->skip : 0};
    std::array<std::uint8_t, sizeof numbers> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::uint8_t>(numbers[i / 8] >> (8 * (i % 8)) & 0xff);
    ::sha256_update(&state_->hash, bytes.size(), bytes.data());
    ::sha256_update(&state_->hash, tag.size(), data_of(tag));
}

ChunkDigest ContentDigester::finish() {
    ChunkDigest digest{};
    ::sha256_digest(&state_->hash, digest.size(), reinterpret_cast<std::uint8_t*>(digest.data()));
    return digest;
}

std::string content_digest(const std::vector<ChunkDigest>& chunks) {
    sha256_ctx hash{};
    ::sha256_init(&hash);
    for (const ChunkDigest& chunk : chunks) ::sha256_update(&hash, chunk.size(), data_of(chunk));
    ChunkDigest whole{};
    ::sha256_digest(&hash, whole.size(), reinterpret_cast<std::uint8_t*>(whole.data()));
    return to_hex(whole);
}

}  // namespace vmdkdm
