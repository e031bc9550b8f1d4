// The text of a descriptor as its parser wants it, of what editors and transfers make of one.
#pragma once

#include <string>

namespace vmdkdm {

struct DescriptorText {
    std::string text;
    bool was_utf16 = false;  ///< now it is UTF-8, whatever encoding it declares
};

/// `raw` may be the beginning of a file. UTF-16 becomes UTF-8, and lines that end with CR alone end with LF.
DescriptorText descriptor_text(std::string raw);

}  // namespace vmdkdm
