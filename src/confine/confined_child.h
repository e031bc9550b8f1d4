// Runs work on bytes that strangers made in a child process that can do nothing but compute (confinement.h),
// answers what it asks for, and takes over the value that it hands back. A fork and not a program of its own:
// it costs a millisecond, and the work is called as any function is.
//
//     parent                                  child
//     run_confined(task) ---- fork ---------> task.before(); confine(); task.work()
//     task.serve(request)  <- request ------- link.ask()
//                          -- reply, fd ---->
//     task.progress()      <- how far ------- link.tell_progress()
//     decode(value)        <- pieces, done --
//
// What comes back is not to be believed: the child may have been taken over by the bytes that it read.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "confine/channel.h"
#include "confine/confinement.h"
#include "confine/value.h"

namespace vmdkdm {

/// The child's side.
class ParentLink {
  public:
    explicit ParentLink(const Channel& channel) : channel_(channel) {}

    /// What the parent's `serve` says. Throws Error: what `serve` threw.
    Message ask(const Encoder& request) {
        send(request);
        return reply();
    }
    /// The two halves of ask(). Requests are answered in order; a few may be under way, as long as both their
    /// names and the answers have room in a socket's buffer.
    void send(const Encoder& request);
    Message reply();
    void tell_progress(std::uint64_t done, std::uint64_t total);

  private:
    const Channel& channel_;
};

/// The parent's answer to a request.
struct Reply {
    Encoder value;
    int fd = -1;  ///< a descriptor of the parent's that the child gets a copy of
};

/// Requests that a child may make. More than any image needs: 256 links of 32,768 extents would be 8 million,
/// but no process can have that many files open.
inline constexpr std::uint64_t max_requests = 2'000'000;

/// Of a value, in bytes; a disk of 300 million runs takes less.
inline constexpr std::size_t max_value = std::size_t{8} << 30;

struct ConfinedTask {
    std::string worker;  ///< "the reader", for messages
    Powers powers;
    Budget budget = Budget::of_reader();
    std::vector<int> keep;         ///< descriptors that the child keeps
    std::function<void()> before;  ///< in the child, before it is confined; may be none
    std::function<void(ParentLink&, Encoder&)> work;
    /// May throw Error, which then is thrown in the child, and anything else, which ends the child and is
    /// thrown by run_confined. None: the child has nothing to ask.
    std::function<Reply(Decoder& request)> serve;
    std::uint64_t most_requests = max_requests;
    /// About ten times a second, with what the child told last. May throw, which ends the child.
    std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

/// Hands the value to `decode`, which reads and checks all of it while the child is still sending: it is
/// never held as a whole. Returns why the child had no system call filter; empty when it had one. Throws what
/// the work threw, an Error or std::bad_alloc, an Error that says how the child ended without an answer, or
/// one (format) when the value is none. Whatever it throws, the child is gone. Must not be called in a
/// confined child.
std::string run_confined(const ConfinedTask& task, const std::function<void(Decoder&)>& decode);

/// The same for a value that `decode` returns.
template <class Decode>
auto value_of_confined(const ConfinedTask& task, Decode&& decode) {
    std::optional<std::decay_t<std::invoke_result_t<Decode, Decoder&>>> value;
    run_confined(task, [&](Decoder& from) { value.emplace(decode(from)); });
    return std::move(*value);
}

}  // namespace vmdkdm
