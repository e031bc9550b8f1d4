#include "attach/lowers.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <optional>

#include "attach/store_file.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "plan/names.h"

namespace vmdkdm {
namespace {

// The file with the store has no name: it goes with its loop device.
LoopDevice attach_store(const ExceptionStore& store, const Plan& plan, const AttachOptions& options,
                        Kernel& kernel, FreeLoops& free) {
    const UniqueFd file = write_store(store, options.run_dir);
    LoopConfig config;
    config.file_fd = file.get();
    config.file_path = options.run_dir;
    config.reference = options.image_path;
    config.block_size = plan.loop_block_size;
    return LoopDevice::attach(kernel, free, config);
}

bool is_open_for_writing(const File& file) { return (::fcntl(file.fd(), F_GETFL) & O_ACCMODE) == O_RDWR; }

LoopDevice attach_file(const LowerPlan& lower, const Plan& plan, const AttachOptions& options, Kernel& kernel,
                       FreeLoops& free) {
    UniqueFd writable;
    // An overlay's own descriptor goes to the loop device, with the lock that is on it.
    if (!lower.read_only && !is_open_for_writing(*lower.file)) {
        const std::string handle = concat("/proc/self/fd/", lower.file->fd());
        writable.reset(::open(handle.c_str(), O_RDWR | O_CLOEXEC));
        if (!writable)
            throw system_error(concat("cannot open '", lower.file->path(), "' for writing"), errno);
    }
    LoopConfig config;
    config.file_fd = writable ? writable.get() : lower.file->fd();
    config.file_path = lower.file->path();
    config.reference = options.image_path;
    config.read_only = lower.read_only;
    config.offset = lower.offset;
    config.direct_io = lower.direct_io;
    config.block_size = plan.loop_block_size;
    return LoopDevice::attach(kernel, free, config);
}

LoopDevice attach_loop(const LowerPlan& lower, const Plan& plan, const AttachOptions& options, Kernel& kernel,
                       FreeLoops& free) {
    return lower.store ? attach_store(*lower.store, plan, options, kernel, free)
                       : attach_file(lower, plan, options, kernel, free);
}

// For each lower the first one of the same file.
std::vector<std::size_t> firsts_of(const std::vector<LowerPlan>& lowers) {
    std::map<const File*, std::size_t> first_of;
    std::vector<std::size_t> firsts;
    for (std::size_t i = 0; i < lowers.size(); ++i)
        firsts.push_back(lowers[i].file ? first_of.try_emplace(lowers[i].file.get(), i).first->second : i);
    return firsts;
}

// The loop device of each lower that needs one; but for those that a file would have beyond its first, where
// no more are to be had, as in a container that has the nodes of a few.
std::vector<std::optional<LoopDevice>> attach_loops(const Plan& plan, const std::vector<std::size_t>& firsts,
                                                    const AttachOptions& options, Kernel& kernel,
                                                    std::vector<std::string>& notes) {
    std::vector<std::optional<LoopDevice>> loops(plan.lowers.size());
    FreeLoops free(kernel);
    kernel.side_by_side(loops.size(), [&](std::size_t i) {
        if (!plan.lowers[i].needs_loop() || firsts[i] != i) return;
        loops[i] = attach_loop(plan.lowers[i], plan, options, kernel, free);
        kernel.throw_if_interrupted();
    });
    std::atomic<bool> are_there_more = true;
    std::string why_not;
    kernel.side_by_side(loops.size(), [&](std::size_t i) {
        if (!plan.lowers[i].needs_loop() || firsts[i] == i || !are_there_more) return;
        try {
            loops[i] = attach_loop(plan.lowers[i], plan, options, kernel, free);
        } catch (const Error& error) {
            if (are_there_more.exchange(false)) why_not = error.what();
        }
        kernel.throw_if_interrupted();
    });
    if (!are_there_more)
        notes.push_back(
            concat("there are fewer loop devices than would be of use, so reads may wait for each "
                   "other: ",
                   why_not));
    return loops;
}

// A block device is known by the device number that it stands for.
DeviceNumber device_number_of(const File& block_device) {
    const dev_t number = block_device.identity().device;
    return {major(number), minor(number)};
}

// The page cache is read from in pages of 4 KiB or more.
constexpr std::uint64_t page = 4096 / sector_size;

// All that the loop device shows. A striped target cuts what it reads at its chunks, which are pages of the
// file here: of what reaches the loop device nothing lies in two of them. What lies in one is read or fails
// as a whole; of a read that fails in the second, the kernel makes zeros without an error.
void add_pages(TableLines& lines, DeviceNumber loop, Sectors size, Sectors place_in_file) {
    Sectors done;
    const auto add = [&](Sectors length, const Target& target) {
        if (length > Sectors(0)) lines.add({lines.end_of_last(), length, target});
        done += length;
    };
    const std::uint64_t to_border = (page - place_in_file.count() % page) % page;
    add(Sectors(std::min(to_border, size.count())), LinearTarget{loop, done});
    add(Sectors((size - done).count() / page * page), StripedTarget{Sectors(page), {{loop, done}}});
    add(size - done, LinearTarget{loop, done});
}

class LowerPlaces {
  public:
    LowerPlaces(const Plan& plan, Kernel& kernel, Assembly& built)
        : plan_(plan), kernel_(kernel), built_(built), places_(plan.lowers.size()) {}

    void add(std::size_t index, const LoopDevice& loop) {
        const LowerPlan& lower = plan_.lowers[index];
        places_[index] = {loop.device(), Sectors(0)};
        // A store is our own, in memory, and read by whole pages.
        if (lower.store || kernel_.loop_does_direct_io(loop.held())) return;
        const std::uint64_t block = plan_.loop_block_size / sector_size;
        const Sectors size(kernel_.device_size(loop.device()).count() / block * block);
        if (size == Sectors(0)) return;
        if (plan_.overlay && plan_.overlay->index == index) {
            // A snapshot wants a device of its own for what is written.
            TableLines pages;
            add_pages(pages, loop.device(), size, whole_sectors(lower.offset));
            places_[index].device = make(overlay_pages_layer, std::move(pages), /*read_only=*/false);
            return;
        }
        places_[index].start = pages_.end_of_last();
        paged_.push_back(index);
        add_pages(pages_, loop.device(), size, whole_sectors(lower.offset));
    }
    void add(std::size_t index, DeviceNumber block_device) { places_[index] = {block_device, Sectors(0)}; }
    void add_same(std::size_t index, std::size_t as) { same_.emplace_back(index, as); }

    std::vector<DevicePlace> finish() && {
        if (!paged_.empty()) {
            const bool read_only = plan_.lowers[paged_.front()].read_only;
            const DeviceNumber device = make(pages_layer, std::move(pages_), read_only);
            for (const std::size_t index : paged_) places_[index].device = device;
        }
        for (const auto& [index, as] : same_) places_[index] = places_[as];
        return std::move(places_);
    }

  private:
    DeviceNumber make(std::string_view layer, TableLines lines, bool read_only) {
        return built_
            .add(MappedDevice::create(kernel_, inner_name(plan_.disk.name, layer),
                                      inner_uuid(plan_.id, layer), Table(std::move(lines)), read_only,
                                      DeviceRole::inner))
            .device();
    }

    const Plan& plan_;
    Kernel& kernel_;
    Assembly& built_;
    std::vector<DevicePlace> places_;
    TableLines pages_;                // one behind the other
    std::vector<std::size_t> paged_;  // which lower ones lie there
    std::vector<std::pair<std::size_t, std::size_t>> same_;
};

}  // namespace

std::vector<DevicePlace> make_lowers(const Plan& plan, const AttachOptions& options, Kernel& kernel,
                                     Assembly& built, std::vector<std::string>& notes) {
    const std::vector<std::size_t> firsts = firsts_of(plan.lowers);
    const std::vector<std::optional<LoopDevice>>& loops =
        built.add(attach_loops(plan, firsts, options, kernel, notes));
    LowerPlaces places(plan, kernel, built);
    for (std::size_t i = 0; i < loops.size(); ++i) {
        if (loops[i])
            places.add(i, *loops[i]);
        else if (!plan.lowers[i].needs_loop())
            places.add(i, device_number_of(*plan.lowers[i].file));
        else
            places.add_same(i, firsts[i]);  // every loop device of a file shows all of it
    }
    return std::move(places).finish();
}

}  // namespace vmdkdm
