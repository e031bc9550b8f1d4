#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace vmdkdm {

Error system_error(std::string_view what_failed, int error_number) {
    const ErrorKind kind = error_number == ENOENT || error_number == ENOTDIR ||
                                   error_number == ENAMETOOLONG  // no file has such a name
                               ? ErrorKind::not_found
                               : error_number == EBUSY ? ErrorKind::busy : ErrorKind::system;
    const std::string why = std::generic_category().message(error_number);
    return {kind, what_failed.empty() ? why : std::string(what_failed) + ": " + why};
}

}  // namespace vmdkdm
