#include "model/block_pool.hpp"

#include <algorithm>
#include <new>

namespace motet {

namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

float* BlockPool::allocate() {
    auto* block = static_cast<float*>(::operator new(block_floats_ * sizeof(float), kAlignment));
    std::fill_n(block, block_floats_, 0.0f);
    bytes_ += block_floats_ * sizeof(float);
    return block;
}

void BlockPool::release(float* block) {
    if (!block) return;
    ::operator delete(block, kAlignment);
    bytes_ -= block_floats_ * sizeof(float);
}

}  // namespace motet
