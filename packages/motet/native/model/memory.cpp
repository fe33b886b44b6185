#include "model/memory.hpp"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <new>
#include <string>
#include <string_view>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace motet {

namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr std::align_val_t kAlignment{kHugePage};

#if defined(__linux__)

// Whether these addresses are those of one file that is mapped, shared and not to be written: then
// nothing is lost with its pages.
bool read_only_file(uintptr_t begin, uintptr_t end) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long long from = 0, to = 0, inode = 0;
        char access[5] = {};
        if (std::sscanf(line.c_str(), "%llx-%llx %4s %*x %*x:%*x %llu", &from, &to, access,
                        &inode) == 4 &&
            from <= begin && end <= to)
            return inode != 0 && std::string_view(access) == "r--s";
    }
    return false;
}

#endif

}  // namespace

LargeBuffer::LargeBuffer(size_t bytes)
    : data_(static_cast<uint8_t*>(::operator new(bytes, kAlignment))), bytes_(bytes) {
#if defined(__linux__)
    madvise(data_, bytes_, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
#endif
}

LargeBuffer::~LargeBuffer() { ::operator delete(data_, kAlignment); }

SparseMemory::SparseMemory([[maybe_unused]] const uint8_t* memory, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
    if (begin >= end || !read_only_file(begin, end)) return;
    begin_ = reinterpret_cast<void*>(begin);
    bytes_ = end - begin;
    madvise(begin_, bytes_, MADV_RANDOM);
#endif
}

void SparseMemory::give_back() const {
#if defined(__linux__)
    if (begin_) madvise(begin_, bytes_, MADV_DONTNEED);
#endif
}

}  // namespace motet
