#include "files/direct_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/concat.h"
#include "base/unique_fd.h"

namespace vmdkdm {
namespace {

// The second sector, where there is one: some disks can read multiples of 4 KiB only, and a loop device of
// ours reads any sector.
bool can_read_a_sector(const File& file) {
    if (file.fd() < 0) return false;
    const std::string handle = concat("/proc/self/fd/", file.fd());
    const UniqueFd direct(::open(handle.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK));
    if (!direct) return false;
    alignas(4096) std::array<std::byte, sector_size> sector{};
    const off_t place = file.size() < Bytes(2 * sector_size) ? 0 : sector_size;
    return ::pread(direct.get(), sector.data(), sector.size(), place) > 0;
}

}  // namespace

bool DirectIo::allows(const File& file) {
    const auto [known, is_new] = by_file_system_.try_emplace(file.identity().device);
    if (is_new) known->second = can_read_a_sector(file);
    return known->second;
}

}  // namespace vmdkdm
