#include "vmdk/delta_writer.h"

#include <catch2/catch.hpp>
#include <cstring>

#include "support/failure.h"
#include "support/map_image.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "vmdk/image_chain.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::MemoryFiles;

DeltaDescriptor descriptor_of(Sectors capacity) {
    return {ContentId{0x1234}, ContentId{0xabcdef01},
            "base.vmdk",       "delta.vmdk",
            capacity,          {{"adapterType", "ide"}, {"comment", "say \"hello\""}}};
}

std::string file_of(const DeltaExtent& extent, const std::string& descriptor) {
    std::string file(static_cast<std::size_t>(extent.size().count()), '\0');
    extent.write(descriptor, [&file](Bytes offset, std::span<const std::byte> bytes) {
        REQUIRE(offset.count() + bytes.size() <= file.size());
        std::memcpy(file.data() + offset.count(), bytes.data(), bytes.size());
    });
    return file;
}

TEST_CASE("a delta is what our reader takes for a child of its parent") {
    const Sectors capacity(200000);  // four tables, the last grain is half a one
    const DeltaExtent extent(capacity, {{0, 1}, {3, 2}, {511, 2}, {1562, 1}});
    CHECK(extent.grain_count() == 6);
    MemoryFiles files;
    files.add("/vm/delta.vmdk", file_of(extent, print_delta_descriptor(descriptor_of(capacity))));
    files.add("/vm/base.vmdk", "version=1\nCID=abcdef01\nparentCID=ffffffff\nRW 200000 FLAT \"f\" 0\n");
    files.add_hole("/vm/f", to_bytes(capacity));
    std::vector<std::string> notes;
    ChainRules rules;
    const ImageChain chain = read_chain("/vm/delta.vmdk", files, rules, notes);
    CHECK(chain.images.size() == 2);
    CHECK(chain.images[0].descriptor.cid == ContentId{0x1234});
    CHECK(chain.images[0].descriptor.create_type == "monolithicSparse");
    CHECK(test::show(map_chain(chain, files, rules.read, notes)) ==
          "0+128 data /vm/delta.vmdk@128\n"
          "128+256 data /vm/f@128 depth 1\n"
          "384+256 data /vm/delta.vmdk@256\n"
          "640+64768 data /vm/f@640 depth 1\n"
          "65408+256 data /vm/delta.vmdk@512\n"
          "65664+134272 data /vm/f@65664 depth 1\n"
          "199936+64 data /vm/delta.vmdk@768\n");
    CHECK(notes.empty());
    rules.read.use_redundant = true;
    CHECK(map_chain(chain, files, rules.read, notes).size() == 7);

    CHECK(extent.place_of(Sectors(5)) == Sectors(133));
    CHECK(extent.place_of(Sectors(639)) == Sectors(511));
    CHECK(extent.place_of(Sectors(199999)) == Sectors(831));
    CHECK_THROWS_AS(extent.place_of(Sectors(128)), std::logic_error);
    CHECK_THROWS_AS(extent.place_of(Sectors(640)), std::logic_error);
}

TEST_CASE("header and places are those of VMware's and qemu's own files") {
    // Format reference, 6.8 and 14.1: 392 sectors and 40 GiB.
    const auto fields = [](Sectors capacity) {
        const std::string file = file_of(DeltaExtent(capacity, {}), "");
        const auto bytes = std::as_bytes(std::span(file));
        const auto at = [&bytes](std::size_t offset) { return static_cast<unsigned>(bytes[offset]); };
        return std::vector{at(48) | at(49) << 8, at(56) | at(57) << 8, at(64) | at(65) << 8};
    };
    CHECK(fields(Sectors(392)) == std::vector{21U, 26U, 128U});
    CHECK(fields(Sectors(std::uint64_t{40} << 21)) == std::vector{21U, 5151U, 10368U});
    const std::string head = file_of(DeltaExtent(Sectors(392), {}), "").substr(0, 80);
    CHECK(head.substr(0, 12) == std::string("KDMV\1\0\0\0\3\0\0\0", 12));
    CHECK(head.substr(72, 7) == std::string("\0\n \r\n\0\0", 7));
}

TEST_CASE("the descriptor is written as readers in the field expect it") {
    CHECK(print_delta_descriptor(descriptor_of(Sectors(392))) ==
          "# Disk DescriptorFile\n"
          "version=1\n"
          "encoding=\"UTF-8\"\n"
          "CID=00001234\n"
          "parentCID=abcdef01\n"
          "createType=\"monolithicSparse\"\n"
          "parentFileNameHint=\"base.vmdk\"\n"
          "# Extent description\n"
          "RW 392 SPARSE \"delta.vmdk\"\n"
          "\n"
          "# The Disk Data Base\n"
          "#DDB\n"
          "\n"
          "ddb.adapterType = \"ide\"\n");
}

TEST_CASE("hardware that would not read back the same is left out") {
    DeltaDescriptor descriptor = descriptor_of(Sectors(8));
    descriptor.ddb = {{"geometry.heads", "16"},
                      {"toolsVersion ", "1"},
                      {"a key", "1"},
                      {"a=b", "1"},
                      {"", "1"},
                      {"comment", ""},
                      {"comment", "\xc4"},
                      {"iofilters", "vmcrypt"},
                      {"comment", " a -._b "}};
    const std::vector<KeyValue> kept = {{"geometry.heads", "16"}, {"comment", " a -._b "}};
    CHECK(parse_descriptor(print_delta_descriptor(descriptor), "d").ddb.entries() == kept);
}

TEST_CASE("a name that no descriptor can say is refused, and so is a parent without a CID") {
    DeltaDescriptor quoted = descriptor_of(Sectors(8));
    quoted.parent_hint = "a\"b.vmdk";
    CHECK(
        failure_of([&] { print_delta_descriptor(quoted); }) ==
        Failure{ErrorKind::refused, "a VMDK descriptor cannot say the name 'a\"b.vmdk' (see --format raw)"});
    DeltaDescriptor with_control = descriptor_of(Sectors(8));
    with_control.file_name = "a\x1b[2Jb.vmdk";  // which a reader would refuse, and a terminal obey
    CHECK(failure_of([&] { print_delta_descriptor(with_control); }) ==
          Failure{ErrorKind::refused,
                  "a VMDK descriptor cannot say the name 'a\\x1b[2Jb.vmdk' (see --format raw)"});
    DeltaDescriptor orphan = descriptor_of(Sectors(8));
    orphan.parent_cid = no_parent;
    CHECK(failure_of([&] { print_delta_descriptor(orphan); }).kind == ErrorKind::refused);
}

TEST_CASE("the hint is relative where the two have a directory in common") {
    CHECK(parent_hint("/vms/web.vmdk", "/vms/delta.vmdk") == "web.vmdk");
    CHECK(parent_hint("/vms/base/web.vmdk", "/vms/delta.vmdk") == "base/web.vmdk");
    CHECK(parent_hint("/vms/base/web.vmdk", "/vms/out/delta.vmdk") == "../base/web.vmdk");
    CHECK(parent_hint("/evidence/web.vmdk", "/tmp/delta.vmdk") == "/evidence/web.vmdk");
    CHECK(parent_hint("/evidence/web.vmdk", "/tmp/a/b/delta.vmdk") == "/evidence/web.vmdk");
    CHECK(parent_hint("/a/web.vmdk", "/delta.vmdk") == "a/web.vmdk");
    CHECK(parent_hint("/vms/x:y.vmdk", "/vms/delta.vmdk") == "./x:y.vmdk");
    CHECK(parent_hint("/vms/[x] y.vmdk", "/vms/delta.vmdk") == "./[x] y.vmdk");
    CHECK(parent_hint("/vms/a/x:y.vmdk", "/vms/delta.vmdk") == "a/x:y.vmdk");
}

TEST_CASE("more than 2 TiB of changes are refused") {
    const std::uint64_t most = (std::uint64_t{1} << 32) / 128;
    const Sectors capacity(std::uint64_t{4} << 31);  // 4 TiB
    CHECK(failure_of([&] {
              DeltaExtent(capacity, {{0, most}});
          }) == Failure{ErrorKind::refused,
                        "the changes would make a VMDK delta of 2199561240576 bytes, and 2 TiB is all that "
                        "its tables can "
                        "say (see --format raw)"});
    CHECK(failure_of([&] { DeltaExtent(capacity, {{0, most / 2}}); }).text == "(no error)");
}

}  // namespace
}  // namespace vmdkdm
