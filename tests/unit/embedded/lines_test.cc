#include "embedded/lines.h"

#include <catch2/catch.hpp>

#include "base/error.h"
#include "embedded/job.h"
#include "embedded/sandbox.h"

namespace vmdkdm {
namespace {

TEST_CASE("frames come back one by one, also when they arrive in pieces") {
    const std::string sent = frame(Frame::Kind::data, std::string("a\0b", 3)) + frame(WindowSize{50, 132}) +
                             frame(Frame::Kind::end_of_file);
    std::string received;
    std::vector<Frame> frames;
    for (const char byte : sent) {
        received += byte;
        while (auto taken = take_frame(received)) frames.push_back(*taken);
    }
    REQUIRE(frames.size() == 3);
    CHECK(frames[0].content == std::string("a\0b", 3));
    CHECK(window_size(frames[1]).rows == 50);
    CHECK(window_size(frames[1]).columns == 132);
    CHECK(frames[2].kind == Frame::Kind::end_of_file);
    CHECK(received.empty());
}

TEST_CASE("a frame larger than any is refused") {
    std::string received = "d\xff\xff";
    CHECK_THROWS_AS(take_frame(received), Error);
}

TEST_CASE("a job is the same after its way through a text") {
    Job job;
    job.image = "/images/a b\nc.vmdk";
    job.name = "web";
    job.image_options = {"--allow-path", "/x"};
    job.command = {"sh", "-c", ""};
    job.environment = {"TERM=xterm"};
    job.terminal = true;
    job.copy = CopyRequest{"", "/etc"};
    const Job same = parse_job(to_text(job));
    CHECK(same.image == job.image);
    CHECK(same.image_options == job.image_options);
    CHECK(same.command == job.command);
    CHECK(same.environment == job.environment);
    CHECK(same.terminal);
    REQUIRE(same.copy);
    CHECK(same.copy->path == "/etc");
    const std::string text = to_text(job);
    CHECK_THROWS_AS(parse_job(text + "more"), Error);
    CHECK_THROWS_AS(parse_job(text.substr(0, text.size() - 1)), Error);
}

TEST_CASE("nothing is writable in the sandbox but what is said to be") {
    Sandbox sandbox;
    sandbox.memory = Bytes(std::uint64_t{512} << 20);
    sandbox.program = 20;
    sandbox.job = 21;
    sandbox.visible = {{"/images/web.vmdk", 22, false}, {"/data", std::nullopt, true}};
    const std::vector<std::string> words = bwrap_words(sandbox);
    const auto has = [&words](std::vector<std::string> wanted) {
        return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
    };
    CHECK(has({"--unshare-all"}));
    CHECK(has({"--die-with-parent"}));
    CHECK(has({"--cap-drop", "ALL"}));
    CHECK(has({"--clearenv"}));
    CHECK(has({"--ro-bind-fd", "22", "/images/web.vmdk"}));
    CHECK(has({"--bind", "/data", "/data"}));
    CHECK(has({"--remount-ro", "/"}));
    CHECK(std::count(words.begin(), words.end(), "--bind") == 1);
    CHECK(std::count(words.begin(), words.end(), "--dev-bind") == 1);
    CHECK(std::count(words.begin(), words.end(), "--share-net") == 0);
    CHECK(std::count(words.begin(), words.end(), "--proc") == 0);
}

}  // namespace
}  // namespace vmdkdm
