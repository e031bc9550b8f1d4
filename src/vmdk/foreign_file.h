// What a file is that was given for an image and is none, and what to do with it: nobody is helped by
// hearing only what was expected.
#pragma once

#include <span>
#include <string>

#include "files/file.h"

namespace vmdkdm {

/// A message for the user about `file`, called `path`, that begins with `head` and holds no descriptor.
std::string describe_foreign_file(const File& file, const std::string& path, std::span<const std::byte> head);

}  // namespace vmdkdm
