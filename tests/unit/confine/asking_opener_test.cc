#include "confine/asking_opener.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/concat.h"
#include "confine/file_request.h"
#include "confine/file_server.h"
#include "files/confined_opener.h"
#include "support/failure.h"
#include "support/temp_dir.h"

namespace vmdkdm {
namespace {

using test::Failure;
using test::failure_of;
using test::TempDir;

struct Place : TempDir {
    Place() {
        write("vm/disk.vmdk", "descriptor");
        write("vm/data", "data");
        write("out/data", "secret");
    }

    // What a child that does `work` says.
    std::string text_from(const std::function<std::string(ParentLink&)>& work) const {
        ConfinedOpener opener({});
        FileServer files(opener, path("vm/disk.vmdk"), encodings);
        ConfinedTask task;
        task.worker = "the worker";
        task.work = [&work](ParentLink& parent, Encoder& value) { value.text(work(parent)); };
        task.serve = [&files](Decoder& request) { return files.answer(request); };
        return value_of_confined(task, [](Decoder& from) { return from.text(10'000); });
    }

    std::set<std::string> encodings;
};

std::string content_of(const File& file) {
    std::string text(static_cast<std::size_t>(file.size().count()), '\0');
    file.read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
    return text;
}

TEST_CASE("a child opens what the rules allow, and reads it") {
    const Place place;
    CHECK(place.text_from([](ParentLink& parent) {
        AskingOpener opener(parent);
        const FilePtr image = opener.open_image("not looked at");
        const FilePtr data = opener.open_beside(*image, "data");
        return concat(image->path(), " ", content_of(*image), " ", data->path(), " ", content_of(*data), " ",
                      data->size().count());
    }) == concat(place.path("vm/disk.vmdk"), " descriptor ", place.path("vm/data"), " data 4"));
}

TEST_CASE("a child gets the refusals of the rules, word for word") {
    const Place place;
    const std::string error = place.text_from([](ParentLink& parent) {
        AskingOpener opener(parent);
        const FilePtr image = opener.open_image("");
        return failure_of([&] { opener.open_beside(*image, "../out/data"); }).text + "|" +
               failure_of([&] { opener.open_beside(*image, "gone"); }).text;
    });
    CHECK(error == concat("'../out/data' is outside the image's directory (see --allow-path)|'",
                          place.path("vm/gone"), "': No such file or directory"));
}

TEST_CASE("the same file is the same descriptor") {
    const Place place;
    CHECK(place.text_from([](ParentLink& parent) {
        AskingOpener opener(parent);
        const FilePtr image = opener.open_image("");
        const int first = opener.open_beside(*image, "data")->fd();
        int last = first;
        for (int i = 0; i < 100; ++i) last = opener.open_beside(*image, "./data")->fd();
        return std::string(first == last ? "same" : "other");
    }) == "same");
}

TEST_CASE("a name that is longer than any can be is refused as the kernel does") {
    const Place place;
    CHECK(place
              .text_from([](ParentLink& parent) {
                  AskingOpener opener(parent);
                  const FilePtr image = opener.open_image("");
                  return failure_of([&] { opener.open_beside(*image, std::string(1 << 20, 'x')); }).text;
              })
              .ends_with("File name too long"));
}

std::vector<std::string> numbered_names(std::size_t count) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) names.push_back(concat("part", i));
    return names;
}

TEST_CASE("names that are expected are asked for ahead, and answered one by one") {
    const Place place;
    const std::vector<std::string> names = numbered_names(100);
    std::string expected;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i != 50) place.write(concat("vm/", names[i]), names[i]);
        expected += i != 50 ? names[i] : concat("'", place.path("vm/part50"), "': No such file or directory");
    }
    CHECK(place.text_from([&names](ParentLink& parent) {
        AskingOpener opener(parent);
        const FilePtr image = opener.open_image("");
        opener.expect_beside(*image, names);
        std::string found;
        for (const std::string& name : names) try {
                found += content_of(*opener.open_beside(*image, name));
            } catch (const Error& error) {
                found += error.what();
            }
        return found;
    }) == expected);
}

TEST_CASE("something else than what was expected is answered all the same, and so is what was, later") {
    const Place place;
    const std::vector<std::string> names = numbered_names(40);
    for (const std::string& name : names) place.write(concat("vm/", name), name);
    CHECK(place.text_from([&names](ParentLink& parent) {
        AskingOpener opener(parent);
        const FilePtr image = opener.open_image("");
        opener.expect_beside(*image, names);
        std::string found = content_of(*opener.open_beside(*image, "part0"));
        for (const char* const name : {"data", "part5", "part1", "part39"})
            found += concat(" ", content_of(*opener.open_beside(*image, name)));
        opener.expect_beside(*image, names);
        found += concat(" ", content_of(*opener.open_beside(*image, "part0")));
        return concat(found, " ", content_of(*opener.open_image("")));
    }) == "part0 data part5 part1 part39 part0 descriptor");
}

TEST_CASE("a child that fails with answers still to come is heard") {
    const Place place;
    const std::vector<std::string> names = numbered_names(40);
    for (const std::string& name : names) place.write(concat("vm/", name), name);
    for (int i = 0; i < 20; ++i)
        CHECK(failure_of([&] {
                  place.text_from([&names](ParentLink& parent) -> std::string {
                      AskingOpener opener(parent);
                      const FilePtr image = opener.open_image("");
                      opener.expect_beside(*image, names);
                      opener.open_beside(*image, "part0");
                      throw Error(ErrorKind::format, "the first is damaged");
                  });
              }) == Failure{ErrorKind::format, "the first is damaged"});
}

// Requests as no AskingOpener makes them.
TEST_CASE("a request that cannot be ends the child") {
    const Place place;
    const auto reason = [&](std::initializer_list<std::uint64_t> numbers, const std::string& text) {
        Encoder request;
        for (const std::uint64_t number : numbers) request.number(number);
        if (!text.empty()) request.text(text);
        return failure_of([&] {
                   place.text_from([&request](ParentLink& parent) {
                       AskingOpener(parent).open_image("");
                       parent.ask(request);
                       return std::string("answered");
                   });
               })
            .text;
    };
    const auto answer = [](const std::string& why) {
        return concat("it made the worker answer what cannot be (", why,
                      "): this is a bug in vmdk-dm; nothing was done");
    };
    CHECK(reason({1, 1}, "data") == answer("it named a file that it was not given"));
    CHECK(reason({1, ~std::uint64_t{0}}, "data") == answer("it named a file that it was not given"));
    CHECK(reason({1, 0}, std::string("data\0x", 6)) == answer("it asked for a name with a NUL"));
    CHECK(reason({1, 0}, std::string(20'000, 'x')) ==
          answer("the length of a text is 20000, more than 16384"));
    CHECK(reason({0, 0}, "") == answer("8 bytes too many"));
    CHECK(reason({1}, "") == answer("it ends too early"));
    CHECK(reason({3}, "") == answer("there is no such request"));
}

TEST_CASE("before anything is open a child can only ask for the image") {
    const Place place;
    CHECK(failure_of([&] {
              place.text_from([](ParentLink& parent) {
                  Encoder request;
                  request.number(static_cast<std::uint64_t>(FileRequest::beside));
                  request.number(0);
                  request.text("data");
                  parent.ask(request);
                  return std::string();
              });
          }).text ==
          "it made the worker answer what cannot be (it named a file that it was not given): this is a "
          "bug in vmdk-dm; nothing was done");
}

TEST_CASE("a character set that is not loaded is asked for once, by a plain name only") {
    Place place;
    const auto ask = [&place](const std::string& name) {
        return place.text_from([&name](ParentLink& parent) {
            AskingOpener(parent).need_encoding(name);
            return std::string("went on");
        });
    };
    try {
        ask("windows-1252");
        FAIL("went on");
    } catch (const EncodingNeeded& needed) {
        CHECK(needed.name == "windows-1252");
    }
    place.encodings.insert("windows-1252");
    CHECK(ask("windows-1252") == "went on");
    for (const char* const odd : {"../../evil", "UTF-8//TRANSLIT", "", "a b", "x\n"})
        CHECK(ask(odd) == "went on");
    CHECK(ask(std::string(1000, 'x')) == "went on");
}

TEST_CASE("a file that a child was not given has no number") {
    CHECK_THROWS_AS(number_of(*open_named_file("/proc/self/exe", false)), std::logic_error);
}

}  // namespace
}  // namespace vmdkdm
