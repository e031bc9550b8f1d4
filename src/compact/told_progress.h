// The progress of work in a confined child, for the Progress that its parent has.
#pragma once

#include <functional>

#include "compact/progress.h"
#include "confine/confined_child.h"

namespace vmdkdm {

/// In the child.
class ToldProgress : public Progress {
  public:
    explicit ToldProgress(ParentLink& parent) : parent_(parent) {}
    void update(Bytes done, Bytes total) override { parent_.tell_progress(done.count(), total.count()); }

  private:
    ParentLink& parent_;
};

/// In the parent: ConfinedTask::progress. `progress` must outlive it; what it throws ends the child.
inline std::function<void(std::uint64_t, std::uint64_t)> told_to(Progress& progress) {
    return
        [&progress](std::uint64_t done, std::uint64_t total) { progress.update(Bytes(done), Bytes(total)); };
}

}  // namespace vmdkdm
