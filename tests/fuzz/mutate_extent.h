// Mutations that know what an extent is made of: numbers of its header, entries of its tables, grains and
// markers of a stream, sectors. Random bytes alone would hardly ever get past the magic number, and never
// build a table that refers to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmdkdm::test {

struct ExtentField {
    std::size_t offset = 0;
    std::size_t width = 0;
};

struct FixedField {
    ExtentField field;
    std::uint64_t value = 0;
};

/// One kind of extent.
struct ExtentShape {
    enum class Entry { sector, se_sparse };

    std::vector<FixedField> fixed;    ///< without which it is not looked into; put right nearly always
    std::vector<ExtentField> fields;  ///< the header's numbers
    Entry entry = Entry::sector;      ///< 32 bits, or 64 with a kind on top
    bool is_stream = false;           ///< blocks with headers, and markers
    std::size_t header_bytes = 0;     ///< no entry of a table is there
    std::size_t prefix = 0;           ///< bytes of the input before the pieced file
};

extern const ExtentShape hosted_sparse;
extern const ExtentShape hosted_stream;
extern const ExtentShape esx_cowd;
extern const ExtentShape esx_se_sparse;
extern const ExtentShape exception_list;

/// For LLVMFuzzerCustomMutator: changes the input in place, and returns its new size.
std::size_t mutate_extent(const ExtentShape& shape, std::uint8_t* data, std::size_t size,
                          std::size_t max_size, unsigned seed);

}  // namespace vmdkdm::test
