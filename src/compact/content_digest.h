// Whether what a copy was made from is still the same bytes, without making it again. Each grain is hashed
// with UMAC-128 (RFC 4418) under a key that nobody but the owner of the copy can read: whoever makes an image
// cannot choose it so that it is taken for another one (two texts made without the key agree with a
// probability of 2^-120), and it costs a small part of what inflating does. SHA-256 then goes over the
// results and over where each lies on the disk.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "map/block_map.h"

namespace vmdkdm {

using ContentKey = std::array<std::byte, 16>;

/// Throws Error (system) where the kernel gives no random numbers.
ContentKey new_content_key();

using ChunkDigest = std::array<std::byte, 32>;

/// For one thread.
class ContentDigester {
  public:
    explicit ContentDigester(const ContentKey& key);
    ~ContentDigester();
    ContentDigester(const ContentDigester&) = delete;
    ContentDigester& operator=(const ContentDigester&) = delete;

    using Tag = std::array<std::byte, 16>;
    Tag tag(std::span<const std::byte> bytes);
    /// `run` shows what `tag` is of.
    void add(const Run& run, const Tag& tag);
    /// Of what was added; then begins anew.
    ChunkDigest finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Of all, in hexadecimal.
std::string content_digest(const std::vector<ChunkDigest>& chunks);

}  // namespace vmdkdm
