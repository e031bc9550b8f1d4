// A HeldDevice that is a file descriptor.
#pragma once

#include "base/unique_fd.h"
#include "kernel/kernel.h"

namespace vmdkdm {

class HeldFd : public HeldDevice {
  public:
    explicit HeldFd(UniqueFd fd) : fd_(std::move(fd)) {}
    int fd() const override { return fd_.get(); }

  private:
    UniqueFd fd_;
};

}  // namespace vmdkdm
