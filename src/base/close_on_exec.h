// What is open must not come to programs that we start.
#pragma once

namespace vmdkdm {

/// Descriptors from `first` on are closed by exec, those that we inherited ourselves included.
void close_on_exec_from(unsigned first);

}  // namespace vmdkdm
