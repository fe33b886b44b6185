#include "model/block_pool.hpp"

#include <algorithm>
#include <new>

namespace motet {

namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

uint8_t* BlockPool::allocate() {
    const size_t bytes = shape_.block_bytes();
    auto* block = static_cast<uint8_t*>(::operator new(bytes, kAlignment));
    std::fill_n(block, bytes, uint8_t{0});
    bytes_ += bytes;
    return block;
}

void BlockPool::release(uint8_t* block) {
    if (!block) return;
    ::operator delete(block, kAlignment);
    bytes_ -= shape_.block_bytes();
}

}  // namespace motet
