#include "cli/command.h"

#include <catch2/catch.hpp>

namespace vmdkdm {
namespace {

struct Values {
    std::vector<std::string> words;
    std::vector<std::string> paths;
    std::string form = "auto";
    std::optional<std::string> size;
    std::uint32_t sector_size = 0;
    bool json = false;
};

/// A program with one command, show.
class Show {
  public:
    Show() {
        Command command = program_.top().add_command("show", "Show it");
        command.add_argument("IMAGE[:VOLUME] DIR", values.words, "What and where").required();
        command.add_option("-p,--path", values.paths, "DIR", "Where else to look");
        command.add_option("--form", values.form, "FORM", "text or json").one_of({"text", "json"});
        command.add_option("--sector-size", values.sector_size, "BYTES", "Of the disk").one_of({512, 4096});
        command.add_flag("--size", values.size, "SIZE", "How large");
        command.add_flag("--json", values.json, "As JSON").excludes(command.option("--form"));
        command.on_run([this, command] { used = command.options(); });
    }

    void run(std::vector<std::string> words) { program_.run(std::move(words)); }

    WordsError refused(std::vector<std::string> words) {
        try {
            run(std::move(words));
        } catch (const WordsError& error) {
            return error;
        }
        FAIL("nothing was refused");
        throw;
    }

    Values values;
    std::vector<OptionUse> used;

  private:
    Program program_;
};

OptionUse use_of(const Show& show, const std::string& name) {
    for (const OptionUse& use : show.used)
        if (use.name == name) return use;
    FAIL("no option " << name);
    throw;
}

TEST_CASE("an option of many values takes one word each time, and leaves the others to the arguments") {
    Show show;
    show.run({"show", "--path", "/a", "disk.vmdk", "-p", "/b", "/mnt"});
    CHECK(show.values.paths == std::vector<std::string>{"/a", "/b"});
    CHECK(show.values.words == std::vector<std::string>{"disk.vmdk", "/mnt"});
}

TEST_CASE("a flag with a value may stand without it") {
    Show with;
    with.run({"show", "--size=1M", "disk.vmdk"});
    CHECK(with.values.size == "1M");
    Show without;
    without.run({"show", "--size", "disk.vmdk"});
    CHECK(without.values.size == flag_without_value);
    CHECK(without.values.words == std::vector<std::string>{"disk.vmdk"});
}

TEST_CASE("a command knows its options, and which were given") {
    Show show;
    show.run({"show", "disk.vmdk", "--form", "json"});
    const OptionUse form = use_of(show, "form");
    CHECK(form.given);
    CHECK(form.value_name == "FORM");
    CHECK(form.help == "text or json");
    CHECK_FALSE(form.is_argument);
    CHECK_FALSE(use_of(show, "path").given);
    CHECK(use_of(show, "size").value_name == "[=SIZE]");
    CHECK(use_of(show, "json").value_name.empty());
    CHECK(use_of(show, "IMAGE[:VOLUME] DIR").given);
    CHECK(use_of(show, "IMAGE[:VOLUME] DIR").is_argument);
}

TEST_CASE("a missing argument is called by the name that --help shows") {
    const WordsError error = Show().refused({"show"});
    CHECK(std::string(error.what()) == "IMAGE[:VOLUME] DIR is required");
    CHECK(error.commands == std::vector<std::string>{"show"});
    CHECK(error.unknown.empty());
}

TEST_CASE("an option that is not known is told apart from a wrong value") {
    CHECK(Show().refused({"show", "disk.vmdk", "--forn", "json"}).unknown ==
          std::vector<std::string>{"--forn"});
    const WordsError error = Show().refused({"show", "disk.vmdk", "--form", "xml"});
    CHECK(error.unknown.empty());
    CHECK(std::string(error.what()) == "--form: xml not in {text,json}");
}

TEST_CASE("a number is one of those that are allowed") {
    Show show;
    show.run({"show", "disk.vmdk", "--sector-size", "4096"});
    CHECK(show.values.sector_size == 4096);
    CHECK(std::string(Show().refused({"show", "disk.vmdk", "--sector-size", "1024"}).what()) ==
          "--sector-size: 1024 not in {512,4096}");
}

TEST_CASE("options that exclude each other are refused together") {
    CHECK(std::string(Show().refused({"show", "disk.vmdk", "--json", "--form", "json"}).what()) ==
          "--form excludes --json");
}

}  // namespace
}  // namespace vmdkdm
