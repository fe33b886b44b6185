#include "model/block_pool.hpp"

#include <algorithm>
#include <new>

namespace motet {

namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

uint8_t* BlockPool::allocate(size_t count) {
    const size_t bytes = count * shape_.block_bytes();
    auto* blocks = static_cast<uint8_t*>(::operator new(bytes, kAlignment));
    std::fill_n(blocks, bytes, uint8_t{0});
    bytes_ += bytes;
    return blocks;
}

void BlockPool::release(uint8_t* blocks, size_t count) {
    ::operator delete(blocks, kAlignment);
    bytes_ -= count * shape_.block_bytes();
}

}  // namespace motet
