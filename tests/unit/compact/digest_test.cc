#include "compact/digest.h"

#include <catch2/catch.hpp>

namespace vmdkdm {
namespace {

std::string digest_of(HashAlgorithm algorithm, const std::string& text) {
    Hasher hasher(algorithm);
    hasher.update(std::as_bytes(std::span(text)));
    return hasher.finish();
}

// The examples of RFC 1321 and FIPS 180.
TEST_CASE("the hashes are those of their standards") {
    CHECK(digest_of(HashAlgorithm::md5, "abc") == "900150983cd24fb0d6963f7d28e17f72");
    CHECK(digest_of(HashAlgorithm::sha1, "abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(digest_of(HashAlgorithm::sha256, "abc") ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest_of(HashAlgorithm::sha256, "") ==
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("zeros are hashed without being there") {
    const std::uint64_t count = GENERATE(0U, 1U, 16384U, 100000U);
    Hasher hasher(HashAlgorithm::sha1);
    hasher.update_zeros(count);
    CHECK(hasher.finish() == digest_of(HashAlgorithm::sha1, std::string(count, '\0')));
}

TEST_CASE("an algorithm is known by its name") {
    CHECK(parse_hash_algorithm("sha256") == HashAlgorithm::sha256);
    CHECK(parse_hash_algorithm("SHA256") == std::nullopt);
    CHECK(Hasher(HashAlgorithm::md5).algorithm() == HashAlgorithm::md5);
}

}  // namespace
}  // namespace vmdkdm
