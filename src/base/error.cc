#include "base/error.h"

#include <cerrno>
#include <system_error>

#include "base/escaped.h"

namespace vmdkdm {
namespace {

std::string as_text(std::string_view message, const std::vector<std::string>& lines) {
    std::string text = escaped(message);
    for (const std::string& line : lines) (text += "\n") += escaped(line);
    return text;
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view message, const std::vector<std::string>& lines)
    : Error(WholeText(), kind, as_text(message, lines)) {}

Error Error::within(std::string_view context) const {
    if (has_lines_) return {WholeText(), kind_, escaped(context) + ": " + what()};
    return {kind_, std::string(context) + ": " + what()};
}

Error system_error(std::string_view what_failed, int error_number) {
    const ErrorKind kind = error_number == ENOENT || error_number == ENOTDIR ||
                                   error_number == ENAMETOOLONG  // no file has such a name
                               ? ErrorKind::not_found
                               : error_number == EBUSY ? ErrorKind::busy : ErrorKind::system;
    const std::string why = std::generic_category().message(error_number);
    return {kind, what_failed.empty() ? why : std::string(what_failed) + ": " + why};
}

}  // namespace vmdkdm
