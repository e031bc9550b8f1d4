// Carries out a Plan: loops, disk, partitions; all or nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attach/attached.h"
#include "kernel/kernel.h"
#include "plan/plan.h"

namespace vmdkdm {

inline constexpr const char* default_run_dir = "/run/vmdk-dm";

struct AttachOptions {
    bool partitions = true;
    bool exposed = false;  ///< to udev's rules, instead of quarantined
    std::optional<std::string>
        partition_delimiter;                ///< between disk name and number, instead of kpartx's rule
    std::string image_path;                 ///< absolute; kept with the loops for `list`
    std::string run_dir = default_run_dir;  ///< where exception stores are written
    std::function<void()> before_keep;      ///< called when everything stands, just before it is made to stay
};

struct PartitionDevice {
    Partition partition;
    std::string path;  ///< "/dev/mapper/web1"
};

struct AttachResult {
    std::string disk_path;  ///< "/dev/mapper/web"
    std::vector<PartitionDevice> partitions;
};

/// Throws Error; the kernel is then as it was before. Notes for the user are added to `notes`.
AttachResult attach(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                    std::vector<std::string>& notes);

/// An attach for the moment. It goes when its owner goes, the newest device first, and also when we are
/// killed, unless it is kept.
class Attachment {
  public:
    class Impl;
    explicit Attachment(std::unique_ptr<Impl> impl);
    Attachment(Attachment&&) noexcept;
    Attachment& operator=(Attachment&&) = delete;
    ~Attachment();

    const AttachResult& result() const;
    /// It stays until it is detached. Throws Error.
    void keep();
    /// Each device goes with its last user, at once when it has none: for those who have mounted something on
    /// it.
    void leave_to_users();

  private:
    std::unique_ptr<Impl> impl_;
};

/// As attach(), but `before_keep` is not called.
Attachment attach_for_the_moment(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                                 std::vector<std::string>& notes);

/// The partitions, for the moment, of a disk that is attached already: those that have no device yet are
/// made. The result has all of them. Throws Error (not_found when the disk is being detached).
Attachment attach_partitions(const AttachedDisk& disk, std::uint32_t logical_sector_size,
                             const AttachOptions& options, Kernel& kernel, std::vector<std::string>& notes);

}  // namespace vmdkdm
