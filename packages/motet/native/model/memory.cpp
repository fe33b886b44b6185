#include "model/memory.hpp"

#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace motet {

namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr std::align_val_t kAlignment{kHugePage};

}  // namespace

LargeBuffer::LargeBuffer(size_t bytes)
    : data_(static_cast<uint8_t*>(::operator new(bytes, kAlignment))), bytes_(bytes) {
#if defined(__linux__)
    madvise(data_, bytes_, MADV_HUGEPAGE);  // a wish: without huge pages it is only slower
#endif
}

LargeBuffer::~LargeBuffer() { ::operator delete(data_, kAlignment); }

}  // namespace motet
