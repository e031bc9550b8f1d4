#include "vmdk/image_chain.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <vector>

#include "base/concat.h"
#include "files/confined_opener.h"
#include "support/blob.h"
#include "support/failure.h"
#include "support/memory_files.h"
#include "support/show_map.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Blob;
using test::Failure;
using test::failure_of;
using test::MemoryFiles;
using test::show;
using test::TempDir;

// A descriptor; no hint for a base.
std::string descriptor(const std::string& cid, const std::string& parent_cid, const std::string& hint,
                       const std::string& extents) {
    return concat("version=1\nCID=", cid, "\nparentCID=", parent_cid, "\n",
                  hint.empty() ? "" : concat("parentFileNameHint=\"", hint, "\"\n"), extents);
}

std::string base(const std::string& cid = "0000aaaa", const std::string& extents = "RW 64 ZERO\n") {
    return descriptor(cid, "ffffffff", "", extents);
}

// A delta of one sparse extent, whose file is "delta" beside it.
std::string delta(const std::string& hint, const std::string& cid = "0000bbbb",
                  const std::string& parent_cid = "0000aaaa") {
    return descriptor(cid, parent_cid, hint, "RW 64 SPARSE \"delta\"\n");
}

// 64 sectors in grains of 8 and one table; one grain is written, in sector 3 on.
std::string sparse_extent(std::uint64_t written_grain, std::uint64_t capacity = 64) {
    Blob file(11);
    file.put_text(0, "KDMV").put32(4, 1).put32(8, 1).put64(12, capacity).put64(20, 8).put32(44, 16);
    file.put64(56, 1).put64(64, 3).put_text(73, "\n \r\n");
    file.put32(512, 2).put32(2 * 512 + written_grain * 4, 3);
    return file.bytes();
}

struct Opened {
    ImageChain chain;
    std::string disk;
    std::vector<std::string> notes;
};

Opened open(FileOpener& opener, const std::string& path, const ChainRules& rules = {}) {
    Opened opened;
    opened.chain = read_chain(path, opener, rules, opened.notes);
    opened.disk = show(map_chain(opened.chain, opener, rules.read, opened.notes));
    return opened;
}

Failure failure(FileOpener& opener, const std::string& path, const ChainRules& rules = {}) {
    return failure_of([&] { open(opener, path, rules); });
}

std::vector<std::string> paths_of(const Opened& opened) {
    std::vector<std::string> paths;
    for (const Image& image : opened.chain.images) paths.push_back(image.file->path());
    return paths;
}

// A child in /vm/child.vmdk with that hint, whose extent holds nothing of grain 1 on.
MemoryFiles files_with_child(const std::string& hint) {
    MemoryFiles files;
    files.add("/vm/child.vmdk", delta(hint));
    files.add("/vm/delta", sparse_extent(0));
    return files;
}

TEST_CASE("a chain is the image, its parent and so on, each shown where those above wrote nothing") {
    MemoryFiles files;
    files.add("/vm/top.vmdk", descriptor("c", "b", "middle.vmdk", "RW 64 SPARSE \"top\"\n"));
    files.add("/vm/middle.vmdk", descriptor("B", "0000000A", "base.vmdk", "RW 64 SPARSE \"middle\"\n"));
    files.add("/vm/base.vmdk", base("a", "RW 64 FLAT \"base\" 0\n"));
    files.add("/vm/top", sparse_extent(1));
    files.add("/vm/middle", sparse_extent(2));
    files.add_hole("/vm/base", Bytes(64 * 512));
    const Opened opened = open(files, "/vm/top.vmdk");
    CHECK(paths_of(opened) == std::vector<std::string>{"/vm/top.vmdk", "/vm/middle.vmdk", "/vm/base.vmdk"});
    CHECK(opened.disk ==
          "0+8 data /vm/base@0 depth 2\n8+8 data /vm/top@3\n16+8 data /vm/middle@3 depth 1\n"
          "24+40 data /vm/base@24 depth 2\n");
    CHECK(opened.notes.empty());

    ChainRules rules;
    rules.layer = 1;
    const Opened older = open(files, "/vm/top.vmdk", rules);
    CHECK(paths_of(older) == std::vector<std::string>{"/vm/middle.vmdk", "/vm/base.vmdk"});
    CHECK(older.disk ==
          "0+16 data /vm/base@0 depth 1\n16+8 data /vm/middle@3\n24+40 data /vm/base@24 depth 1\n");
    rules.layer = 2;
    CHECK(open(files, "/vm/top.vmdk", rules).disk == "0+64 data /vm/base@0\n");
    rules.layer = 3;
    CHECK(failure(files, "/vm/top.vmdk", rules) ==
          Failure{ErrorKind::usage, "--layer 3: the chain of '/vm/top.vmdk' has 3 layers, 0 to 2"});
}

TEST_CASE("a parent of another size is used as far as it goes, with a note") {
    MemoryFiles files = files_with_child("base.vmdk");
    files.add("/vm/base.vmdk", base("aaaa", "RW 20 FLAT \"base\" 0\n"));
    files.add_hole("/vm/base", Bytes(100 * 512));
    const Opened smaller = open(files, "/vm/child.vmdk");
    CHECK(smaller.disk == "0+8 data /vm/delta@3\n8+12 data /vm/base@8 depth 1\n20+44 zero depth 1\n");
    CHECK(smaller.notes == std::vector<std::string>{"'/vm/base.vmdk' has 20 sectors, its child 64; beyond "
                                                    "the parent's end there are zeros"});

    files.add("/vm/base.vmdk", base("aaaa", "RW 100 FLAT \"base\" 0\n"));
    const Opened larger = open(files, "/vm/child.vmdk");
    CHECK(larger.disk == "0+8 data /vm/delta@3\n8+56 data /vm/base@8 depth 1\n");
    CHECK(larger.notes == std::vector<std::string>{
                              "'/vm/base.vmdk' has 100 sectors, its child 64; the rest of the parent is not "
                              "seen"});
}

TEST_CASE("a parent that was written since the snapshot is refused, or taken with a warning") {
    MemoryFiles files = files_with_child("base.vmdk");
    files.add("/vm/base.vmdk", base("1234"));
    CHECK(failure(files, "/vm/child.vmdk") ==
          Failure{ErrorKind::format,
                  "'/vm/base.vmdk' is not what '/vm/child.vmdk' was made on: its CID is 00001234, expected "
                  "0000aaaa (it was written since; see --ignore-cid)"});
    ChainRules rules;
    rules.ignore_cid = true;
    const Opened opened = open(files, "/vm/child.vmdk", rules);
    CHECK(opened.disk == "0+8 data /vm/delta@3\n8+56 zero depth 1\n");
    REQUIRE(opened.notes.size() == 1);
    CHECK(
        opened.notes[0].ends_with("'/vm/base.vmdk' has CID 00001234, not the 0000aaaa that "
                                  "'/vm/child.vmdk' was made on; the disk's content may be wrong"));
}

TEST_CASE("of several files that the hint may mean, the one with the right CID is the parent") {
    MemoryFiles files = files_with_child("old/base.vmdk");
    files.add("/vm/old/base.vmdk", base("1234"));
    files.add("/vm/base.vmdk", base());
    CHECK(paths_of(open(files, "/vm/child.vmdk"))[1] == "/vm/base.vmdk");
    ChainRules rules;
    rules.ignore_cid = true;
    CHECK(paths_of(open(files, "/vm/child.vmdk", rules))[1] == "/vm/base.vmdk");
}

TEST_CASE("a missing parent is named, with who asked for it and what it would be known by") {
    for (const char* hint : {"base.vmdk", "sub/base.vmdk", "../other/base.vmdk", "/vmfs/volumes/x/base.vmdk",
                             R"(C:\VMs\base\base.vmdk)", "[datastore1] base/base.vmdk", "[base.vmdk"}) {
        MemoryFiles files = files_with_child(hint);
        CHECK(failure(files, "/vm/child.vmdk") ==
              Failure{ErrorKind::not_found, concat("the parent '", hint,
                                                   "' of '/vm/child.vmdk' (CID 0000aaaa) is missing (see "
                                                   "--search-dir)")});
    }
    MemoryFiles files = files_with_child("");
    CHECK(failure(files, "/vm/child.vmdk") ==
          Failure{ErrorKind::format,
                  "'/vm/child.vmdk' has a parent (CID 0000aaaa), but does not say where it is"});

    MemoryFiles longer = files_with_child("middle.vmdk");
    longer.add("/vm/middle.vmdk", delta("gone.vmdk", "aaaa", "9999"));
    CHECK(failure(longer, "/vm/child.vmdk") ==
          Failure{ErrorKind::not_found,
                  "the parent 'gone.vmdk' of '/vm/middle.vmdk' (CID 00009999) is missing (see "
                  "--search-dir)"});
}

TEST_CASE("a hint's names are tried from the most literal on") {
    using Names = std::vector<std::string>;
    CHECK(parent_candidates("base.vmdk", {}) == Names{"base.vmdk"});
    CHECK(parent_candidates("/vms/base/base.vmdk", {}) ==
          Names{"/vms/base/base.vmdk", "base.vmdk", "../base/base.vmdk"});
    CHECK(parent_candidates(R"(C:\VMs\base\base.vmdk)", {}) ==
          Names{R"(C:\VMs\base\base.vmdk)", "C:/VMs/base/base.vmdk", "base.vmdk", "../base/base.vmdk"});
    CHECK(parent_candidates("[ds 1] base/base.vmdk", {}) ==
          Names{"[ds 1] base/base.vmdk", "base/base.vmdk", "base.vmdk", "../base/base.vmdk"});
    CHECK(parent_candidates("[ds] base.vmdk", {}) == Names{"[ds] base.vmdk", "base.vmdk"});
    CHECK(parent_candidates("/vms/base/base.vmdk", {"/s"}) == Names{"/vms/base/base.vmdk", "base.vmdk",
                                                                    "../base/base.vmdk", "/s/base/base.vmdk",
                                                                    "/s/base.vmdk"});
    CHECK(parent_candidates("a/b/base.vmdk", {"/s", "/t"}) ==
          Names{"a/b/base.vmdk", "base.vmdk", "../b/base.vmdk", "/s/a/b/base.vmdk", "/s/b/base.vmdk",
                "/s/base.vmdk", "/t/a/b/base.vmdk", "/t/b/base.vmdk", "/t/base.vmdk"});
    CHECK(parent_candidates("[ds]", {}) == Names{"[ds]"});
    CHECK(parent_candidates("file:base.vmdk", {}) == Names{"file:base.vmdk", "base.vmdk"});
    CHECK(parent_candidates("file:/vms/base/base.vmdk", {"/s"}) ==
          Names{"file:/vms/base/base.vmdk", "/vms/base/base.vmdk", "base.vmdk", "../base/base.vmdk",
                "/s/base/base.vmdk", "/s/base.vmdk"});
}

TEST_CASE("a parent is found by whatever part of its hint still leads there") {
    struct Case {
        const char* hint;
        const char* parent;
    };
    static const Case cases[] = {
        {"base.vmdk", "/vm/base.vmdk"},
        {"sub/base.vmdk", "/vm/sub/base.vmdk"},
        {"/elsewhere/base.vmdk", "/elsewhere/base.vmdk"},
        {"/vmfs/volumes/5e/vm/base.vmdk", "/vm/base.vmdk"},
        {"/vmfs/volumes/5e/base/base.vmdk", "/base/base.vmdk"},
        {R"(C:\VMs\base\base.vmdk)", "/vm/base.vmdk"},
        {R"(C:\VMs\base\base.vmdk)", "/base/base.vmdk"},
        {R"(\\server\share\base.vmdk)", "/vm/base.vmdk"},
        {R"(..\base\base.vmdk)", "/base/base.vmdk"},
        {R"(sub\base.vmdk)", "/vm/sub/base.vmdk"},
        {"[datastore1] base/base.vmdk", "/vm/base/base.vmdk"},
        {"[datastore1] base/base.vmdk", "/vm/base.vmdk"},
        {"[datastore1] base/base.vmdk", "/base/base.vmdk"},
        {"nbd://host/base.vmdk", "/vm/base.vmdk"},
    };
    for (const Case& c : cases) {
        MemoryFiles files = files_with_child(c.hint);
        files.add(c.parent, base());
        CHECK(paths_of(open(files, "/vm/child.vmdk")) ==
              std::vector<std::string>{"/vm/child.vmdk", c.parent});
    }
}

TEST_CASE("a search directory holds the parent under any part of its hint") {
    ChainRules rules;
    rules.search_dirs = {"/nothing", "/s"};
    for (const char* place : {"/s/base.vmdk", "/s/b/base.vmdk", "/s/a/b/base.vmdk"}) {
        MemoryFiles files = files_with_child("a/b/base.vmdk");
        files.add(place, base());
        CHECK(paths_of(open(files, "/vm/child.vmdk", rules))[1] == place);
    }
}

TEST_CASE("a chain that comes back to one of its links is refused") {
    const auto comes_back = [](const std::string& to) {
        return Failure{ErrorKind::format, concat("the chain of parents comes back to '", to, "'")};
    };
    MemoryFiles files;
    files.add("/vm/self.vmdk", delta("self.vmdk", "aaaa", "aaaa"));
    CHECK(failure(files, "/vm/self.vmdk") == comes_back("/vm/self.vmdk"));
    files.add("/vm/self.vmdk", delta("self.vmdk", "bbbb", "aaaa"));
    CHECK(failure(files, "/vm/self.vmdk") == comes_back("/vm/self.vmdk"));
    files.add("/vm/self.vmdk", delta("../vm/./self.vmdk", "bbbb", "aaaa"));
    CHECK(failure(files, "/vm/self.vmdk") == comes_back("/vm/self.vmdk"));

    files.add("/vm/a.vmdk", delta("b.vmdk", "aaaa", "bbbb"));
    files.add("/vm/b.vmdk", delta("c.vmdk", "bbbb", "cccc"));
    files.add("/vm/c.vmdk", delta("a.vmdk", "cccc", "aaaa"));
    CHECK(failure(files, "/vm/a.vmdk") == comes_back("/vm/a.vmdk"));
    ChainRules deep;
    deep.layer = 4000000000;
    CHECK(failure(files, "/vm/a.vmdk", deep) == comes_back("/vm/a.vmdk"));
}

TEST_CASE("a clone with the file name and the CID of its parent is not its own parent") {
    MemoryFiles files;
    files.add("/clone/disk.vmdk", delta("/gone/base/disk.vmdk", "aaaa", "aaaa"));
    files.add("/clone/delta", sparse_extent(0));
    CHECK(failure(files, "/clone/disk.vmdk") ==
          Failure{ErrorKind::not_found,
                  "the parent '/gone/base/disk.vmdk' of '/clone/disk.vmdk' (CID 0000aaaa) is missing (see "
                  "--search-dir)"});
    files.add("/s/disk.vmdk", base());
    ChainRules rules;
    rules.search_dirs = {"/s"};
    CHECK(paths_of(open(files, "/clone/disk.vmdk", rules))[1] == "/s/disk.vmdk");
}

TEST_CASE("a chain of 256 links is read, one of 257 is refused") {
    MemoryFiles files;
    files.add("/vm/0.vmdk", base("0"));
    for (int i = 1; i <= 256; ++i)
        files.add(concat("/vm/", i, ".vmdk"), descriptor(concat(i), concat(i - 1), concat(i - 1, ".vmdk"),
                                                         concat("RW 64 SPARSE \"", i, "\"\n")));
    for (int i = 1; i <= 256; ++i) files.add(concat("/vm/", i), sparse_extent(0));
    const Opened opened = open(files, "/vm/255.vmdk");
    CHECK(opened.chain.images.size() == 256);
    CHECK(opened.disk == "0+8 data /vm/255@3\n8+56 zero depth 255\n");
    CHECK(failure(files, "/vm/256.vmdk") == Failure{ErrorKind::format, "the chain has more than 256 links"});
}

TEST_CASE("a delta that hides its parent does not need it") {
    MemoryFiles files;
    files.add("/vm/child.vmdk", descriptor("b", "a", "gone.vmdk", "RW 8 ZERO\nNOACCESS 8 ZERO\n"));
    const Opened opened = open(files, "/vm/child.vmdk");
    CHECK(opened.disk == "0+8 zero\n8+8 unreadable: the descriptor says NOACCESS\n");
    CHECK(opened.notes == std::vector<std::string>{"'/vm/child.vmdk' is a snapshot of 'gone.vmdk', but its "
                                                   "flat extents hide that entirely; it is not opened"});
    ChainRules rules;
    rules.layer = 1;
    CHECK(failure(files, "/vm/child.vmdk", rules).kind == ErrorKind::not_found);
}

TEST_CASE("a hint without a parent's CID means nothing") {
    MemoryFiles files;
    files.add("/vm/child.vmdk", descriptor("b", "FFFFFFFF", "gone.vmdk", "RW 8 ZERO\n"));
    CHECK(open(files, "/vm/child.vmdk").chain.images.size() == 1);
}

TEST_CASE("a parent that cannot be read is the error, and is named") {
    struct Case {
        std::string parent;
        ErrorKind kind;
        const char* message;
    };
    for (const Case& c :
         {Case{"QFI\xfb", ErrorKind::format,
               "it is a qcow2 image and no VMDK (qemu-nbd shows it as a device; qemu-img convert -O "
               "vmdk makes a VMDK of it)"},
          Case{base("aaaa", "RW 64 FLAT \"gone\" 0\n"), ErrorKind::not_found,
               "extent 1 (line 4): cannot open '/vm/gone': No such file or directory"},
          Case{base("aaaa", "RW 65 SPARSE \"short\"\n"), ErrorKind::format,
               "extent 1 (line 4): '/vm/short' holds 64 sectors, but its extent line says "
               "65"}}) {
        MemoryFiles files = files_with_child("base.vmdk");
        files.add("/vm/base.vmdk", c.parent);
        files.add("/vm/short", sparse_extent(0));
        CHECK(failure(files, "/vm/child.vmdk") ==
              Failure{c.kind, concat("parent '/vm/base.vmdk': ", c.message)});
    }
}

TEST_CASE("damage that the child hides is not the disk's") {
    MemoryFiles files = files_with_child("base.vmdk");
    files.add("/vm/base.vmdk", base("aaaa", "RW 64 SPARSE \"base\"\n"));
    Blob damaged(0);
    damaged.append(sparse_extent(0)).put32(2 * 512, 4000);
    files.add("/vm/base", damaged.bytes());
    std::vector<std::string> notes;
    const BlockMap hidden = map_chain(read_chain("/vm/child.vmdk", files, {}, notes), files, {}, notes);
    CHECK(hidden.reasons().empty());
    CHECK(hidden.files().size() == 1);
    ChainRules rules;
    rules.layer = 1;
    CHECK(open(files, "/vm/child.vmdk", rules).disk ==
          "0+8 unreadable: '/vm/base': a grain lies beyond the end of the file\n8+56 zero\n");
}

TEST_CASE("a file of grains serves one extent of a descriptor") {
    MemoryFiles files;
    files.add("/vm/disk.vmdk", base("a", "RW 64 SPARSE \"a\"\nRW 64 ZERO\nRW 64 SPARSE \"a\"\n"));
    files.add("/vm/a", sparse_extent(0));
    CHECK(failure(files, "/vm/disk.vmdk") ==
          Failure{ErrorKind::format, "extent 3 (line 6): '/vm/a' is already the extent on line 4"});
}

// An extent with that descriptor in sectors 1 and 2.
std::string embedded(const std::string& text) {
    Blob file(13);
    file.put_text(0, sparse_extent(0).substr(0, 512)).put64(28, 1).put64(36, 2).put_text(512, text);
    file.put64(56, 3).put64(64, 5).put32(3 * 512, 4).put32(4 * 512, 5);
    return file.bytes();
}

TEST_CASE("an embedded descriptor's extent is the file that it is in, whatever it is called there") {
    MemoryFiles files;
    files.add("/vm/renamed.vmdk", embedded(base("a", "RW 64 SPARSE \"call-me-stream.vmdk\"\n")));
    CHECK(open(files, "/vm/renamed.vmdk").disk == "0+8 data /vm/renamed.vmdk@5\n8+56 zero\n");
    files.add("/vm/renamed.vmdk", embedded(base("a", "RW 60 SPARSE \"x\"\n")));
    const Opened other_size = open(files, "/vm/renamed.vmdk");
    CHECK(other_size.disk == "0+8 data /vm/renamed.vmdk@5\n8+56 zero\n");
    CHECK(other_size.notes ==
          std::vector<std::string>{"'/vm/renamed.vmdk': the extent line says 60 sectors, the header 64; the "
                                   "header is believed"});
    files.add("/vm/renamed.vmdk", embedded(base("a", "RW 64 FLAT \"x\" 0\n")));
    CHECK(failure(files, "/vm/renamed.vmdk") ==
          Failure{ErrorKind::format,
                  "extent 1 (line 4): it is of type FLAT, but the descriptor is embedded in a SPARSE "
                  "extent"});
}

TEST_CASE("an embedded descriptor that does not lie inside the file is refused") {
    const std::string outside = "the embedded descriptor does not lie inside the file";
    const std::string text = embedded(base("a", "RW 64 SPARSE \"a.vmdk\"\n"));
    struct Case {
        std::size_t field;
        std::uint64_t value;
    };
    for (const Case& c : {Case{28, 14}, Case{28, ~std::uint64_t{0}}, Case{28, std::uint64_t{1} << 55},
                          Case{36, 13}, Case{36, ~std::uint64_t{0}}, Case{36, std::uint64_t{1} << 55}}) {
        MemoryFiles files;
        files.add("/vm/a.vmdk", Blob(0).append(text).put64(c.field, c.value).bytes());
        CHECK(failure(files, "/vm/a.vmdk") == Failure{ErrorKind::format, outside});
    }
    const std::string piece = "it is a piece of a split disk: name the descriptor beside it";
    MemoryFiles files;
    files.add("/vm/a.vmdk", Blob(0).append(text).put64(28, 0).bytes());
    CHECK(failure(files, "/vm/a.vmdk") == Failure{ErrorKind::format, piece});
    files.add("/vm/a.vmdk", embedded(""));
    CHECK(failure(files, "/vm/a.vmdk") == Failure{ErrorKind::format, piece});
}

// With real files: what may be opened.
class RealChain {
  public:
    explicit RealChain(const std::string& hint) {
        dir_.write("vm/child.vmdk", delta(hint));
        dir_.write("vm/delta", sparse_extent(0));
    }
    const TempDir& dir() const { return dir_; }
    std::string parent(const OpenRules& open_rules = {}, const ChainRules& rules = {}) const {
        ConfinedOpener opener(open_rules);
        return paths_of(open(opener, dir_.path("vm/child.vmdk"), rules)).at(1);
    }
    Failure refusal() const {
        return failure_of([&] { parent(); });
    }

  private:
    TempDir dir_;
};

TEST_CASE("a parent outside the child's directory is refused until the user permits it") {
    const RealChain chain("../other/base.vmdk");
    const std::string place = chain.dir().write("other/base.vmdk", base());
    CHECK(chain.refusal() ==
          Failure{ErrorKind::refused, concat("the parent of '", chain.dir().path("vm/child.vmdk"),
                                             "': '../other/base.vmdk' is outside the image's directory (see "
                                             "--search-dir)")});
    const std::string other = chain.dir().path("other");
    CHECK(chain.parent({{other}, false}) == place);
    ChainRules rules;
    rules.search_dirs = {other};
    CHECK(chain.parent({{other}, false}, rules) == place);
}

TEST_CASE("an absolute hint is refused by itself, but its base name beside the child is taken") {
    const RealChain chain("/vmfs/volumes/5e/base.vmdk");
    CHECK(chain.refusal() ==
          Failure{ErrorKind::refused,
                  concat("the parent of '", chain.dir().path("vm/child.vmdk"),
                         "': '/vmfs/volumes/5e/base.vmdk' is outside the image's directory (see "
                         "--search-dir)")});
    const std::string beside = chain.dir().write("vm/base.vmdk", base());
    CHECK(chain.parent() == beside);
}

TEST_CASE("a parent that is merely missing is not said to be forbidden") {
    const RealChain chain("sub/base.vmdk");
    CHECK(chain.refusal() ==
          Failure{ErrorKind::not_found,
                  concat("the parent 'sub/base.vmdk' of '", chain.dir().path("vm/child.vmdk"),
                         "' (CID 0000aaaa) is missing (see --search-dir)")});
}

TEST_CASE("a parent behind a symlink is refused") {
    const RealChain chain("base.vmdk");
    chain.dir().write("other/base.vmdk", base());
    std::filesystem::create_symlink("../other/base.vmdk", chain.dir().path("vm/base.vmdk"));
    CHECK(chain.refusal() ==
          Failure{ErrorKind::refused, concat("the parent of '", chain.dir().path("vm/child.vmdk"),
                                             "': 'base.vmdk' is a symbolic link or lies behind one (see "
                                             "--search-dir)")});
}

TEST_CASE("a sparse file belongs to one link of a chain") {
    MemoryFiles files = files_with_child("base.vmdk");
    files.add("/vm/base.vmdk", base("0000aaaa", "RW 64 SPARSE \"delta\"\n"));
    CHECK(failure(files, "/vm/child.vmdk") ==
          Failure{ErrorKind::format,
                  "parent '/vm/base.vmdk': extent 1 (line 4): '/vm/delta' is already the extent on "
                  "line 5 of '/vm/child.vmdk'"});
}

TEST_CASE("a hint that is too long for a file name leaves the other names to be tried") {
    const TempDir dir;
    const std::string component(300, 'x');
    dir.write("child.vmdk", delta(concat(component, "/base.vmdk")));
    dir.write("delta", sparse_extent(0));
    ConfinedOpener opener({});
    CHECK(failure(opener, dir.path("child.vmdk")) ==
          Failure{ErrorKind::not_found,
                  concat("the parent '", component.substr(0, 100), "...' of '", dir.path("child.vmdk"),
                         "' (CID 0000aaaa) is missing (see --search-dir)")});
    dir.write("base.vmdk", base());
    CHECK(paths_of(open(opener, dir.path("child.vmdk"))) ==
          std::vector<std::string>{dir.path("child.vmdk"), dir.path("base.vmdk")});
}

}  // namespace
}  // namespace vmdkdm
