// A table as text: either an Error, or a table without gaps that prints to what it was made of.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "dm/table.h"
#include "fuzz/check.h"
#include "fuzz/mutate_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmdkdm;
    using test::require;
    try {
        const Table table = Table::parse(std::string_view(reinterpret_cast<const char*>(data), size));
        Sectors next;
        for (const TableLine& line : table.lines()) {
            require(line.start == next && line.length > Sectors(0), "the table has no gap and no empty line");
            next += line.length;
        }
        require(next == table.length(), "the lines cover the table");
        require(Table::parse(table.print()) == table, "what is printed reads back");
        require(table.bind({}) == table, "a table of numbers is bound already");
    } catch (const Error& error) {
        require(error.kind() == ErrorKind::format, "a bad table is a format error");
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    return vmdkdm::test::mutate_text(data, size, max_size, seed);
}
