// The file in which an exception store lies while its disk is attached.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "plan/exception_store.h"

namespace vmdkdm {

/// Whether write_store() can make its file there.
bool can_hold_store(const std::string& directory);

/// A file in `directory` that has no name, so that nothing can be left behind: it goes with the last who has
/// it open. The directory is made when it is missing. Throws Error (system).
UniqueFd write_store(const ExceptionStore& store, const std::string& directory);

}  // namespace vmdkdm
