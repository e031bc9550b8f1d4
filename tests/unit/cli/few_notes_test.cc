#include "cli/few_notes.h"

#include <catch2/catch.hpp>

#include "base/concat.h"

namespace vmdkdm {
namespace {

using Notes = std::vector<std::string>;

TEST_CASE("notes that differ in names and numbers only are of one kind, of which three are told") {
    Notes notes = {"first"};
    for (int i = 0; i < 50; ++i) notes.push_back(concat("'web-s", i, ".vmdk' has ", 9 * i, " sectors"));
    notes.emplace_back("last");
    CHECK(few_of_each_kind(notes) ==
          Notes{"first", "'web-s0.vmdk' has 0 sectors", "'web-s1.vmdk' has 9 sectors",
                "'web-s2.vmdk' has 18 sectors (and 47 more of this kind)", "last"});
}

TEST_CASE("three notes of a kind, and those of different kinds, are all told") {
    const Notes notes = {"'a' is 1", "'b' is 2", "'c' is 3", "'a' was 1", ""};
    CHECK(few_of_each_kind(notes) == notes);
    CHECK(few_of_each_kind({}).empty());
}

}  // namespace
}  // namespace vmdkdm
