#include "confine/shared_number.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <set>

#include "base/error.h"

namespace vmdkdm {
namespace {

std::set<std::uint32_t*>& all() {
    static std::set<std::uint32_t*> numbers;
    return numbers;
}

}  // namespace

SharedNumber::SharedNumber() {
    void* const page =
        ::mmap(nullptr, sizeof(std::uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw system_error("mmap", errno);
    number_ = new (page) std::uint32_t(0);
    all().insert(number_);
}

SharedNumber::~SharedNumber() {
    all().erase(number_);
    ::munmap(number_, sizeof *number_);
}

void SharedNumber::leave_all() {
    for (std::uint32_t* const number : all()) ::munmap(number, sizeof *number);
}

}  // namespace vmdkdm
