// Large allocations ask for huge pages. A disk of a million runs is lists of tens of megabytes, and with
// pages of 4 KiB the page faults cost more than all that is done to the runs.
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t huge_page = 2 << 20;

}  // namespace

void* operator new(std::size_t size) {
    if (size >= huge_page) {
        const std::size_t whole = (size + huge_page - 1) & ~(huge_page - 1);
        if (whole < size) throw std::bad_alloc();
        if (void* memory = std::aligned_alloc(huge_page, whole)) {
            ::madvise(memory, whole, MADV_HUGEPAGE);  // only advice: where it fails, pages are small
            return memory;
        }
        throw std::bad_alloc();
    }
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}

// std::stable_sort takes its memory with this one and gives it back with delete: both must be ours.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    try {
        return ::operator new(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
