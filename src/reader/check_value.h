// What `check` found, on its way from a confined child.
#pragma once

#include "confine/value.h"
#include "vmdk/check.h"

namespace vmdkdm {

/// A CheckedImage without its chain.
struct CheckReport {
    std::string path;  ///< of the image, absolute
    std::size_t layers = 0;
    std::size_t files = 0;
    Findings findings;
};

void encode_report(Encoder& to, const CheckedImage& checked);

/// Throws BadValue.
CheckReport decode_report(Decoder& from);

}  // namespace vmdkdm
