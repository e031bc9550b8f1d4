// MD5, SHA-1 and SHA-256 (nettle). None of them is here to withstand an attacker: they are what evidence is
// listed by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vmdkdm {

/// In lower case.
std::string to_hex(std::span<const std::byte> bytes);

enum class HashAlgorithm { md5, sha1, sha256 };

/// "md5"
std::string_view to_string(HashAlgorithm algorithm);
std::optional<HashAlgorithm> parse_hash_algorithm(std::string_view name);

class Hasher {
  public:
    explicit Hasher(HashAlgorithm algorithm);
    Hasher(Hasher&&) noexcept;
    Hasher& operator=(Hasher&&) noexcept;
    ~Hasher();

    HashAlgorithm algorithm() const;
    void update(std::span<const std::byte> bytes);
    void update_zeros(std::uint64_t count);
    /// In lower-case hexadecimal; the hasher then begins anew.
    std::string finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

struct Digest {
    HashAlgorithm algorithm;
    std::string hex;
};

}  // namespace vmdkdm
