// The serial lines between the embedded kernel and us, and what is said on them. Out go standard output and
// standard error, each on a line of its own and as they are, and on a third a few words of process 1. In come
// frames, because a serial line has no end of file and no window size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vmdkdm {

/// Descriptors of the kernel's process outside, and the lines that they are inside.
inline constexpr int kernel_log_fd = 1;
inline constexpr int output_fd = 3;
inline constexpr int errors_fd = 4;
inline constexpr int words_fd = 5;
inline constexpr int input_fd = 6;
inline constexpr const char* output_line = "/dev/ttyS0";
inline constexpr const char* errors_line = "/dev/ttyS1";
inline constexpr const char* words_line = "/dev/ttyS2";

/// Where the sandbox shows the job and our own program.
inline constexpr const char* job_path = "/.vmdk-dm/job";
inline constexpr const char* program_path = "/.vmdk-dm/vmdk-dm";

/// What process 1 says, each a line.
inline constexpr std::string_view said_ready = "ready";      ///< frames may be sent
inline constexpr std::string_view said_running = "running";  ///< the command starts: all before was ours
inline constexpr std::string_view said_took =
    "took ";  ///< and how many bytes of frames it has read since, in decimal
inline constexpr std::string_view said_status = "status ";  ///< and the exit status, in decimal

/// What goes in.
struct Frame {
    enum class Kind : char { data = 'd', end_of_file = 'e', window_size = 'w' };
    Kind kind = Kind::data;
    std::string content;
};
struct WindowSize {
    std::uint16_t rows = 0;
    std::uint16_t columns = 0;
};
inline constexpr std::size_t largest_frame = 2048;

/// How many bytes of frames may be on their way. A serial line that has 4096 unread bytes is throttled, and
/// User-Mode Linux may then never hear that more has come.
inline constexpr std::size_t input_window = 3072;

/// `content` is at most largest_frame bytes.
std::string frame(Frame::Kind kind, std::string_view content = {});
std::string frame(WindowSize size);

/// Takes a whole frame off the front of `received`; none when there is none yet. Throws Error (format).
std::optional<Frame> take_frame(std::string& received);

/// Throws Error (format).
WindowSize window_size(const Frame& frame);

}  // namespace vmdkdm
