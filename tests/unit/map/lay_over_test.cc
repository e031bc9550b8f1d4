#include "map/lay_over.h"

#include <catch2/catch.hpp>

#include "support/memory_files.h"
#include "support/show_map.h"

namespace vmdkdm {
namespace {

using test::MemoryFiles;
using test::show;

TEST_CASE("a layer over a disk hides what it says, and the rest lies one deeper") {
    MemoryFiles files;
    Layer::Builder base;
    const FileIndex a = base.add_file(files.add_hole("/a", Bytes(1 << 20)), 0);
    base.append(Sectors(20), Stored{a, Sectors(100)});
    base.append(Sectors(10), Zero{0});
    base.append(Sectors(10), Compressed{a, 0, Sectors(500)});
    base.append(Sectors(5), Unreadable{0, base.add_reason({Reason::Kind::damage, "gone"})});
    std::vector<Layer> layers;
    layers.push_back(std::move(base).build());
    const BlockMap disk = flatten(std::move(layers));

    Layer::Builder top;
    top.append(Sectors(5), Unallocated{});
    const FileIndex o = top.add_file(files.add_hole("/o", Bytes(1 << 20)), 0);
    top.append(Sectors(3), Stored{o, Sectors(7)});
    top.append(Sectors(24), Unallocated{});
    top.append(Sectors(1), Unreadable{0, top.add_reason({Reason::Kind::damage, "torn"})});
    top.append(Sectors(12), Unallocated{});
    CHECK(show(lay_over(std::move(top).build(), disk)) ==
          "0+5 data /a@100 depth 1\n"
          "5+3 data /o@7\n"
          "8+12 data /a@108 depth 1\n"
          "20+10 zero depth 1\n"
          "30+2 compressed /a@500 depth 1\n"
          "32+1 unreadable: torn\n"
          "33+7 compressed /a@500 depth 1 skip 3\n"
          "40+5 unreadable depth 1: gone\n");
}

TEST_CASE("the same file above and below is two, by its depth") {
    MemoryFiles files;
    const FilePtr file = files.add_hole("/a", Bytes(1 << 20));
    Layer::Builder base;
    base.append(Sectors(8), Stored{base.add_file(file, 0), Sectors(0)});
    std::vector<Layer> layers;
    layers.push_back(std::move(base).build());
    Layer::Builder top;
    top.append(Sectors(4), Stored{top.add_file(file, 0), Sectors(0)});
    top.append(Sectors(4), Unallocated{});
    const BlockMap disk = lay_over(std::move(top).build(), flatten(std::move(layers)));
    CHECK(show(disk) == "0+4 data /a@0\n4+4 data /a@4 depth 1\n");
}

}  // namespace
}  // namespace vmdkdm
