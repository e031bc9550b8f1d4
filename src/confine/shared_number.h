// Memory that this process and those that it forks have in common, both writing to it.
#pragma once

#include <cstdint>

namespace vmdkdm {

/// A number, 0 at first. Confined children have no part in it: they are taken out of all of them (confine()).
class SharedNumber {
  public:
    /// Throws Error (system).
    SharedNumber();
    ~SharedNumber();
    SharedNumber(const SharedNumber&) = delete;
    SharedNumber& operator=(const SharedNumber&) = delete;

    std::uint32_t* get() const { return number_; }
    std::uint32_t& operator*() const { return *number_; }

    /// For this process, of all that there are.
    static void leave_all();

  private:
    std::uint32_t* number_;
};

}  // namespace vmdkdm
