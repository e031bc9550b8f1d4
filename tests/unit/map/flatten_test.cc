#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "map/block_map.h"
#include "support/memory_files.h"
#include "support/show_map.h"

namespace vmdkdm {
namespace {

using test::MemoryFiles;
using test::show;

// Layers of runs in sectors, top first.
class Layers {
  public:
    Layers& layer() {
        finish();
        builder_.emplace();
        return *this;
    }
    Layers& stored(std::uint64_t length, const std::string& file, std::uint64_t sector) {
        const FileIndex index = builder_->add_file(file_named(file), depth());
        builder_->append(Sectors(length), Stored{index, Sectors(sector)});
        return *this;
    }
    Layers& compressed(std::uint64_t length, const std::string& file, std::uint64_t sector) {
        const FileIndex index = builder_->add_file(file_named(file), depth());
        builder_->append(Sectors(length), Compressed{index, 0, Sectors(sector)});
        return *this;
    }
    Layers& zero(std::uint64_t length) {
        builder_->append(Sectors(length), Zero{depth()});
        return *this;
    }
    Layers& unallocated(std::uint64_t length) {
        builder_->append(Sectors(length), Unallocated{});
        return *this;
    }
    Layers& unreadable(std::uint64_t length, const std::string& why) {
        const std::uint32_t index = builder_->add_reason({Reason::Kind::damage, why});
        builder_->append(Sectors(length), Unreadable{depth(), index});
        return *this;
    }
    BlockMap flat() {
        finish();
        return flatten(layers_);
    }
    std::string shown() { return show(flat()); }

  private:
    std::uint32_t depth() const { return static_cast<std::uint32_t>(layers_.size()); }
    FilePtr file_named(const std::string& name) {
        if (!known_.contains(name)) known_[name] = files_.add_hole(name, Bytes(1 << 20));
        return known_[name];
    }
    void finish() {
        if (builder_) layers_.push_back(std::move(*builder_).build());
        builder_.reset();
    }

    MemoryFiles files_;
    std::map<std::string, FilePtr> known_;
    std::optional<Layer::Builder> builder_;
    std::vector<Layer> layers_;
};

TEST_CASE("what a layer says hides the layers below, what it never wrote shows them") {
    CHECK(Layers()
              .layer()
              .stored(8, "/top", 0)
              .unallocated(8)
              .zero(8)
              .unallocated(8)
              .layer()
              .stored(32, "/base", 100)
              .shown() ==
          "0+8 data /top@0\n8+8 data /base@108 depth 1\n16+8 zero\n24+8 data /base@124 depth 1\n");
}

TEST_CASE("what no layer wrote is zeros of the base") {
    CHECK(Layers().layer().unallocated(8).shown() == "0+8 zero\n");
    CHECK(Layers().layer().unallocated(8).layer().unallocated(8).layer().unallocated(8).shown() ==
          "0+8 zero depth 2\n");
}

TEST_CASE("grains of differing size cut each other") {
    CHECK(Layers()
              .layer()
              .unallocated(3)
              .stored(1, "/top", 7)
              .unallocated(60)
              .layer()
              .unallocated(8)
              .stored(8, "/middle", 0)
              .unallocated(48)
              .layer()
              .stored(64, "/base", 0)
              .shown() ==
          "0+3 data /base@0 depth 2\n3+1 data /top@7\n4+4 data /base@4 depth 2\n"
          "8+8 data /middle@0 depth 1\n16+48 data /base@16 depth 2\n");
}

TEST_CASE("a run may begin inside a compressed grain") {
    CHECK(Layers()
              .layer()
              .unallocated(16)
              .stored(8, "/top", 0)
              .unallocated(40)
              .layer()
              .compressed(64, "/base", 5)
              .shown() ==
          "0+16 compressed /base@5 depth 1\n16+8 data /top@0\n24+40 compressed /base@5 depth 1 skip 24\n");
}

TEST_CASE("beyond a smaller parent there are zeros, whatever lies below it") {
    CHECK(Layers().layer().unallocated(20).layer().unallocated(10).layer().stored(30, "/base", 0).shown() ==
          "0+10 data /base@0 depth 2\n10+10 zero depth 1\n");
}

TEST_CASE("the disk is as large as the top layer, also above a larger parent") {
    CHECK(Layers().layer().unallocated(5).layer().stored(30, "/base", 0).shown() ==
          "0+5 data /base@0 depth 1\n");
}

TEST_CASE("what a layer cannot read hides the layers below too") {
    CHECK(Layers().layer().unreadable(4, "torn").unallocated(4).layer().stored(8, "/base", 0).shown() ==
          "0+4 unreadable: torn\n4+4 data /base@4 depth 1\n");
    CHECK(Layers().layer().unallocated(8).layer().unreadable(8, "torn").shown() ==
          "0+8 unreadable depth 1: torn\n");
}

TEST_CASE("pieces of one run that meet again are one run") {
    CHECK(Layers()
              .layer()
              .unallocated(8)
              .layer()
              .unallocated(4)
              .unallocated(4)
              .layer()
              .stored(8, "/base", 0)
              .shown() == "0+8 data /base@0 depth 2\n");
}

TEST_CASE("files and reasons that the disk does not show are not part of it") {
    const BlockMap map = Layers()
                             .layer()
                             .stored(8, "/top", 0)
                             .unallocated(8)
                             .layer()
                             .unreadable(4, "hidden")
                             .stored(4, "/hidden", 0)
                             .unreadable(4, "seen")
                             .stored(4, "/seen", 0)
                             .flat();
    CHECK(show(map) == "0+8 data /top@0\n8+4 unreadable depth 1: seen\n12+4 data /seen@0 depth 1\n");
    REQUIRE(map.files().size() == 2);
    CHECK(map.files()[0].file->path() == "/top");
    CHECK(map.files()[1].file->path() == "/seen");
    REQUIRE(map.reasons().size() == 1);
    CHECK(map.reasons()[0].text == "seen");
}

TEST_CASE("a sole layer: what it never wrote meets its zeros, and what it does not show is left out") {
    const BlockMap map = Layers()
                             .layer()
                             .unallocated(4)
                             .zero(4)
                             .unallocated(8)
                             .stored(4, "/a", 0)
                             .stored(0, "/hidden", 0)
                             .unreadable(0, "hidden")
                             .unreadable(4, "seen")
                             .compressed(4, "/b", 9)
                             .zero(4)
                             .unallocated(4)
                             .flat();
    CHECK(show(map) == "0+16 zero\n16+4 data /a@0\n20+4 unreadable: seen\n24+4 compressed /b@9\n28+8 zero\n");
    REQUIRE(map.files().size() == 2);
    CHECK(map.files()[1].file->path() == "/b");
    REQUIRE(map.reasons().size() == 1);
}

TEST_CASE("the same file in two layers is listed once a layer") {
    CHECK(Layers().layer().stored(4, "/a", 0).unallocated(4).layer().stored(8, "/a", 0).shown() ==
          "0+4 data /a@0\n4+4 data /a@4 depth 1\n");
}

// Sector by sector, with nothing in common with flatten() but its inputs.
TEST_CASE("random layers give what looking up every sector gives") {
    std::mt19937 random(3);
    const auto below = [&random](std::uint32_t end) { return static_cast<std::uint32_t>(random() % end); };
    for (int round = 0; round < 300; ++round) {
        MemoryFiles files;
        const FilePtr file = files.add_hole("/a", Bytes(1 << 20));
        std::vector<Layer> layers;
        std::vector<std::vector<LayerContent>> sectors;  // of each layer
        for (std::uint32_t depth = 0, count = 1 + below(5); depth < count; ++depth) {
            Layer::Builder builder;
            const FileIndex index = builder.add_file(file, depth);
            auto& told = sectors.emplace_back();
            const std::uint32_t size = 1 + below(200);
            while (told.size() < size) {
                const std::uint32_t length =
                    1 + below(std::min<std::uint32_t>(30, size - static_cast<std::uint32_t>(told.size())));
                const std::uint32_t kind = below(4);
                const Sectors place(below(1000));
                for (std::uint32_t i = 0; i < length; ++i)
                    told.push_back(kind == 0   ? LayerContent(Stored{index, place + Sectors(i)})
                                   : kind == 1 ? LayerContent(Zero{depth})
                                   : kind == 2 ? LayerContent(Compressed{index, i, place})
                                               : LayerContent(Unallocated{}));
                builder.append(Sectors(length), told[told.size() - length]);
            }
            layers.push_back(std::move(builder).build());
        }
        const BlockMap disk = flatten(layers);
        REQUIRE(disk.capacity() == Sectors(sectors[0].size()));
        for (const Run& run : disk)
            for (std::uint64_t i = 0; i < run.length.count(); ++i) {
                const std::uint64_t at = run.start.count() + i;
                std::size_t depth = 0;
                while (depth + 1 < layers.size() && at < sectors[depth].size() &&
                       std::holds_alternative<Unallocated>(sectors[depth][at]))
                    ++depth;
                REQUIRE(depth_of(disk, run.content) == depth);
                const LayerContent expected =
                    at < sectors[depth].size() ? sectors[depth][at] : LayerContent(Unallocated{});
                if (const auto* stored = std::get_if<Stored>(&expected))
                    REQUIRE(std::get<Stored>(run.content).sector + Sectors(i) == stored->sector);
                else if (const auto* compressed = std::get_if<Compressed>(&expected))
                    REQUIRE((std::get<Compressed>(run.content).sector == compressed->sector &&
                             std::get<Compressed>(run.content).skip + i == compressed->skip));
                else
                    REQUIRE(std::holds_alternative<Zero>(run.content));
            }
        for (std::size_t i = 1; i < disk.size(); ++i)
            REQUIRE_FALSE(std::visit(
                [&](const auto& kind) { return continues(disk[i - 1].content, disk[i - 1].length, kind); },
                disk[i].content));
    }
}

}  // namespace
}  // namespace vmdkdm
