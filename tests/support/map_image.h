// The disk of one image that has no parent.
#pragma once

#include <string>
#include <vector>

#include "vmdk/image.h"

namespace vmdkdm {

inline BlockMap map_image(const Image& image, FileOpener& opener, const ReadRules& rules,
                          std::vector<std::string>& notes) {
    std::vector<Layer> layers;
    SparseFiles sparse_files;
    layers.push_back(read_layer(image, 0, opener, rules, notes, sparse_files));
    return flatten(std::move(layers));
}

}  // namespace vmdkdm
