// How long work tells how far it is, and learns that it is to stop. Called from the caller's own thread only,
// about ten times a second.
#pragma once

#include "base/units.h"

namespace vmdkdm {

class Progress {
  public:
    virtual ~Progress() = default;
    /// `done` never falls; `total` is 0 as long as it is not known, and then never changes. Throws Error to
    /// stop the work.
    virtual void update(Bytes done, Bytes total) = 0;
};

class SilentProgress : public Progress {
  public:
    void update(Bytes, Bytes) override {}
};

}  // namespace vmdkdm
