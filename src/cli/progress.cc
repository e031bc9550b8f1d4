#include "cli/progress.h"

#include <unistd.h>

#include <iomanip>
#include <sstream>

#include "base/concat.h"
#include "base/error.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

using namespace std::chrono_literals;

constexpr auto text_interval = 200ms;
constexpr auto json_interval = 500ms;

// "2:05", "1:00:03"
std::string clock_time(std::uint64_t seconds) {
    std::ostringstream text;
    if (seconds >= 3600) text << seconds / 3600 << ":" << std::setfill('0') << std::setw(2);
    text << seconds / 60 % 60 << ":" << std::setfill('0') << std::setw(2) << seconds % 60;
    return text.str();
}

}  // namespace

void add_progress_option(Command& command, std::string& when) {
    command
        .add_option("--progress", when, "FORM",
                    "Progress on standard error: auto (text on a terminal), text, none or json")
        .one_of({"auto", "text", "none", "json"});
}

ProgressReport::ProgressReport(const std::string& when)
    : form_(when == "json"                                                  ? Form::json
            : when == "text" || (when == "auto" && ::isatty(STDERR_FILENO)) ? Form::text
                                                                            : Form::none) {}

ProgressReport::~ProgressReport() {
    if (shown_ && form_ == Form::text) (err() << "\r\033[K").flush();
}

void ProgressReport::update(Bytes done, Bytes total) {
    if (interruption_pending()) throw Error(ErrorKind::system, "interrupted");
    const Clock::time_point now = Clock::now();
    const bool last = total.count() != 0 && done == total;
    const bool due = now - last_ >= (form_ == Form::json ? json_interval : text_interval);
    if (form_ == Form::none || total.count() == 0 || (!due && !(last && form_ == Form::json))) return;
    last_ = now;
    shown_ = true;

    const double seconds = std::max(std::chrono::duration<double>(now - start_).count(), 1e-3);
    const double rate = static_cast<double>(done.count()) / seconds;
    const double left = rate < 1 ? 0 : static_cast<double>((total - done).count()) / rate;
    if (form_ == Form::json) {
        const Json line = {
            {"bytesDone", done.count()},
            {"bytesTotal", total.count()},
            {"bytesPerSecond", static_cast<std::uint64_t>(rate)},
            {"secondsLeft", rate < 1 ? Json(nullptr) : Json(static_cast<std::uint64_t>(left))}};
        (err() << compact_json(line) << "\n").flush();
        return;
    }
    const double percent = 100 * static_cast<double>(done.count()) / static_cast<double>(total.count());
    err() << "\r" << static_cast<int>(percent) << " % of " << human_size(total) << ", "
          << human_size(Bytes(static_cast<std::uint64_t>(rate))) << "/s"
          << (rate < 1 ? "" : concat(", ", clock_time(static_cast<std::uint64_t>(left)), " left"))
          << "\033[K";
    err().flush();
}

}  // namespace vmdkdm
