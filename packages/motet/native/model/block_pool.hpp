// Memory for the key-value cache, in blocks of 64 positions of one layer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"

namespace motet {

// Blocks come from the system when they are needed and return to it when released. Thread-safe.
class BlockPool {
  public:
    explicit BlockPool(CacheShape shape) : shape_(shape) {}

    const CacheShape& shape() const { return shape_; }

    // `count` blocks of zeros, one behind the other: lanes beyond a sequence's last position are
    // computed and thrown away, but must be numbers. Throws std::bad_alloc.
    uint8_t* allocate(size_t count);
    void release(uint8_t* blocks, size_t count);

    size_t bytes() const { return bytes_; }

  private:
    const CacheShape shape_;
    std::atomic<size_t> bytes_{0};
};

}  // namespace motet
