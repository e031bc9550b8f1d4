// Valid images of every kind that qemu-img reads too, made of an input's bytes, and the disk that each must
// become. Written from the description of the format, and shares nothing with the readers under test.
//
// What is valid and read otherwise by qemu-img 7.2 is never made (sections of the format reference):
// - RDONLY, NOACCESS and ZERO lines: it drops them, and what follows moves (3.1, 3.2);
// - VMFS with an offset, and createTypes of devices: it refuses them (3.2, 4);
// - tables of more than 512 entries: it refuses them (6.6);
// - an extent that ends inside a grain and is not the last: it reads on in the grain (6.6);
// - a descriptor that is not embedded at sector 1: it looks nowhere else (6.7);
// - a stream under a text descriptor: it looks for the footer in the wrong file (7.5);
// - entry 1 of a COWD table: it takes the header for data (8.2);
// - names of parents with ':' or a directory: it takes them for a protocol, or looks elsewhere (11.2).
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>
#include <vector>

namespace vmdkdm::test {

struct NamedFile {
    std::string name;
    std::string content;
};

struct ValidImage {
    std::vector<NamedFile> files;  ///< all in one directory
    std::string disk;              ///< the bytes that its first file, the image, shows
};

inline constexpr const char* valid_image_name = "link0.vmdk";

ValidImage make_valid_image(FuzzedDataProvider& bytes);

}  // namespace vmdkdm::test
