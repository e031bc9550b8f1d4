#include "kernel/run_tool.h"

#include <catch2/catch.hpp>

#include "base/concat.h"
#include "support/failure.h"

namespace vmdkdm {
namespace {

using namespace test;

ToolCall shell(const std::string& script) { return {{"sh", "-c", script}, "dash", {}, 120}; }

TEST_CASE("a tool's output is returned, also when it is larger than a pipe holds") {
    CHECK(run_tool(shell("echo one; echo two >&2; echo three")) == "one\nthree\n");
    CHECK(run_tool(shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; echo x >&2; i=$((i+1)); done"))
              .size() == 20000 * 11);
}

TEST_CASE("its words are arguments and no shell code; its environment is what it is given") {
    CHECK(run_tool({{"printf", "%s|", "$HOME", "; exit 1", ""}, "coreutils", {}, 120}) == "$HOME|; exit 1||");
    ToolCall call = shell("echo $LC_ALL $MINE; test -z \"$HOME\"");
    call.environment = {{"MINE", "a b"}};
    CHECK(run_tool(call) == "C a b\n");
}

TEST_CASE("it reads nothing and inherits no descriptor") {
    CHECK(run_tool(shell("cat")).empty());
    CHECK(run_tool(shell("for f in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$f ] || echo $f; done")).empty());
}

TEST_CASE("a tool that fails says why in its own words") {
    CHECK(failure_of([] { run_tool(shell("echo '  no such  VG' >&2; echo ' really ' >&2; exit 5")); }) ==
          Failure{ErrorKind::system, "sh failed (status 5): no such VG; really"});
    CHECK(failure_of([] { run_tool(shell("exit 3")); }) ==
          Failure{ErrorKind::system, "sh failed (status 3)"});
    CHECK(failure_of([] { run_tool(shell("kill -9 $$")); }) ==
          Failure{ErrorKind::system, "sh was killed by signal 9"});
}

TEST_CASE("a tool that is not there is named with its package") {
    CHECK(failure_of([] {
              run_tool({{"no-such-tool-x", "y"}, "toolbox", {}, 120});
          }) == Failure{ErrorKind::not_found, "needs no-such-tool-x (package toolbox)"});
}

TEST_CASE("a tool that does not end is given up") {
    ToolCall call = shell("exec sleep 60");
    call.timeout_s = 1;
    CHECK(failure_of([&] { run_tool(call); }) == Failure{ErrorKind::system, "sh did not end within 1 s"});
}

}  // namespace
}  // namespace vmdkdm
