// A chain of descriptors on its way from a confined child.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "confine/value.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {

void encode_chain(Encoder& to, const ImageChain& chain,
                  const std::function<std::uint64_t(const File&)>& number_of);

/// The chain, of at least one link, of `files` (by their numbers, the image that the user named as
/// `image_path` first). Everything in it is checked to be what a descriptor can say. Throws BadValue.
ImageChain decode_chain(Decoder& from, const std::vector<FilePtr>& files, const std::string& image_path);

/// Why a chain ends where it does, an Error or null.
void encode_broken(Encoder& to, const std::exception_ptr& broken);
std::exception_ptr decode_broken(Decoder& from);

void encode_texts(Encoder& to, const std::vector<std::string>& texts);

/// Texts for people.
std::vector<std::string> decode_texts(Decoder& from);

}  // namespace vmdkdm
