#include "overlay/delta.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <catch2/catch.hpp>

#include "overlay/discard.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::show;

Layer changes_of(const FilePtr& file, Sectors capacity,
                 std::vector<std::pair<std::uint64_t, std::uint64_t>> runs) {
    Layer::Builder layer;
    const FileIndex index = layer.add_file(file, 0);
    for (const auto& [start, length] : runs) {
        layer.append(Sectors(start) - layer.length(), Unallocated{});
        layer.append(Sectors(length), Stored{index, Sectors(5000 + start)});
    }
    layer.append(capacity - layer.length(), Unallocated{});
    return std::move(layer).build();
}

TEST_CASE("a grain is in the delta when any of it is changed") {
    test::MemoryFiles files;
    const FilePtr file = files.add_hole("/o", Bytes(1 << 24));
    const auto grains = [&](std::vector<std::pair<std::uint64_t, std::uint64_t>> runs) {
        return changed_grains(changes_of(file, Sectors(1000), std::move(runs)));
    };
    CHECK(grains({}).empty());
    CHECK(grains({{0, 8}, {16, 8}, {120, 8}}) == std::vector<GrainRange>{{0, 1}});
    CHECK(grains({{120, 16}}) == std::vector<GrainRange>{{0, 2}});
    CHECK(grains({{0, 8}, {128, 8}, {384, 8}}) == std::vector<GrainRange>{{0, 2}, {3, 1}});
    CHECK(grains({{0, 200}, {220, 8}}) == std::vector<GrainRange>{{0, 2}});
    CHECK(grains({{992, 8}}) == std::vector<GrainRange>{{7, 1}});
}

TEST_CASE("of a grain that is changed in part the rest comes from below") {
    test::MemoryFiles files;
    Layer::Builder base;
    base.append(Sectors(1000), Stored{base.add_file(files.add_hole("/a", Bytes(1 << 24)), 0), Sectors(0)});
    std::vector<Layer> layers;
    layers.push_back(changes_of(files.add_hole("/o", Bytes(1 << 24)), Sectors(1000), {{136, 8}, {992, 8}}));
    layers.push_back(std::move(base).build());
    const std::vector<GrainRange> grains = changed_grains(layers[0]);
    CHECK(show(only_grains(flatten(std::move(layers)), grains)) ==
          "0+128 zero\n"
          "128+8 data /a@128\n"
          "136+8 data /o@5136\n"
          "144+112 data /a@144\n"
          "256+640 zero\n"
          "896+96 data /a@896\n"
          "992+8 data /o@5992\n");
}

TEST_CASE("a delta has a CID of its own, the image's as its parent, and the hardware of the chain") {
    test::MemoryFiles files;
    files.add(
        "/vm/top.vmdk",
        "version=1\nCID=12345678\nparentCID=a\nparentFileNameHint=\"base.vmdk\"\nRW 8 VMFSSPARSE \"x\"\n");
    files.add("/vm/base.vmdk",
              "version=1\nCID=a\nparentCID=ffffffff\nRW 8 FLAT \"y\" 0\nddb.adapterType = \"lsilogic\"\n"
              "ddb.uuid = \"60 00\"\n");
    std::vector<std::string> notes;
    const ImageChain chain = read_chain("/vm/top.vmdk", files, ChainRules(), notes);
    const DeltaDescriptor delta = describe_delta(chain, Sectors(8), "/vm/new/delta.vmdk");
    CHECK(delta.parent_cid == ContentId{0x12345678});
    CHECK(delta.parent_hint == "../top.vmdk");
    CHECK(delta.file_name == "delta.vmdk");
    CHECK(delta.cid != delta.parent_cid);
    CHECK(delta.cid.value < 0xfffffffe);
    CHECK(describe_delta(chain, Sectors(8), "/vm/new/delta.vmdk").cid != delta.cid);
    REQUIRE(delta.ddb.size() == 2);
    CHECK(delta.ddb[0] == KeyValue{"adapterType", "lsilogic"});
    CHECK(delta.ddb[1].second.substr(24) == to_string(delta.cid));
}

TEST_CASE("a discarded overlay is as it was before it was attached") {
    const test::TempDir directory;
    OverlayHeader header;
    header.capacity = Sectors(8000);
    header.chunk = Sectors(8);
    header.limit = Bytes(4 << 20);
    header.image = "/vm/disk.vmdk";
    header.created = "2026-11-22T19:30:00Z";
    header.links = {{ContentId{1}, no_parent, ""}};
    header.files = {{"disk.vmdk", Bytes(100), 5}};
    const OverlayFile overlay = OverlayFile::create(directory.path("o"), header);
    std::string written(2 << 20, 'x');
    written.replace(0, 16, std::string("SnAp\1\0\0\0\1\0\0\0\10\0\0\0", 16));
    REQUIRE(::pwrite(overlay.file()->fd(), written.data(), written.size(), 1 << 20) == 2 << 20);
    REQUIRE(overlay.cow_state() == CowState::valid);

    discard_changes(overlay);
    CHECK(overlay.cow_state() == CowState::untouched);
    std::vector<std::byte> left(4 << 20, std::byte{1});
    overlay.file()->read_at(Bytes(1 << 20), left);
    CHECK(left == std::vector<std::byte>(4 << 20));
    struct stat status = {};
    REQUIRE(::fstat(overlay.file()->fd(), &status) == 0);
    CHECK(status.st_size == 5 << 20);
    CHECK(status.st_blocks * 512 <= 64 << 10);
    CHECK(overlay.header() == OverlayFile::open_in_use(directory.path("o")).header());
}

}  // namespace
}  // namespace vmdkdm
