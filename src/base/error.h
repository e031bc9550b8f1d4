// The one exception type of the project. Nearly every failure ends the command, and unwinding is the
// rollback.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vmdkdm {

/// What kind of failure it is; the number is the exit status of the command.
enum class ErrorKind {
    system = 1,     ///< the kernel or the file system refused a call
    usage = 2,      ///< the command line is wrong
    format = 3,     ///< the image is damaged, cut short, or not understood
    refused = 4,    ///< forbidden unless the user permits it; the message names the option
    busy = 5,       ///< in use, attached already, or the name is taken
    not_found = 6,  ///< no such image, file or device
    changed = 8,    ///< something that was sealed is no longer what it was
};

/// `what()` is the whole message, context first: "cannot attach 'web.vmdk': loop device: Permission denied".
class Error : public std::runtime_error {
  public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    /// With lines of their own below the message. `what()` is all of it, escaped but for these line ends.
    Error(ErrorKind kind, std::string_view message, const std::vector<std::string>& lines);
    ErrorKind kind() const { return kind_; }

    /// Whether line ends in `what()` are ours. Elsewhere they come from a name, and are escaped where it is
    /// printed.
    bool has_lines() const { return has_lines_; }

    /// The same error with "`context`: " in front, for rethrowing on the way up.
    Error within(std::string_view context) const;

  protected:
    struct WholeText {};  ///< escaped but for its line ends
    Error(WholeText, ErrorKind kind, const std::string& text)
        : std::runtime_error(text), kind_(kind), has_lines_(true) {}

  private:
    ErrorKind kind_;
    bool has_lines_ = false;
};

/// A fault in a text: "file:line:column: message", the line, a caret. It says by itself where it is, so no
/// context is put in front of it, and editors can jump to the place.
class TextError : public Error {
  public:
    /// `text` is all of it, escaped but for its line ends.
    explicit TextError(const std::string& text) : Error(WholeText(), ErrorKind::format, text) {}
};

/// "`what_failed`: <strerror>" (the latter alone when `what_failed` is empty), with the kind that fits:
/// ENOENT and its like are not_found, EBUSY is busy, else system.
[[nodiscard]] Error system_error(std::string_view what_failed, int error_number);

/// `body()`, with `context` added to whatever Error it throws (but a TextError).
template <class Body>
decltype(auto) with_context(std::string_view context, Body&& body) {
    try {
        return body();
    } catch (const TextError&) {
        throw;
    } catch (const Error& error) {
        throw error.within(context);
    }
}

}  // namespace vmdkdm
