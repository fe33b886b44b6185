// One sequence of tokens: its key-value cache.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "model/block_pool.hpp"
#include "model/config.hpp"

namespace motet {

// The cache grows in blocks of 64 positions per layer, as positions are reached. Sliding layers
// give blocks back once the window has left them. The exact mode keeps keys and values in float32,
// the others in bfloat16. What is read is always what was kept, so that a chunked prompt computes
// exactly what the whole prompt does.
class Sequence {
  public:
    Sequence(std::shared_ptr<const Config> config, std::shared_ptr<BlockPool> pool);
    ~Sequence();
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;

    // Positions whose keys and values are in the cache.
    size_t length() const { return length_; }
    const std::shared_ptr<const Config>& config() const { return config_; }

    // Makes room for `count` more positions in every layer. Throws std::bad_alloc, after which
    // the sequence is as usable as before.
    void reserve(size_t count);
    // Counts `count` positions as read whose keys and values are zeros: to measure what a long
    // context costs without reading one. Throws std::bad_alloc.
    void skip(size_t count) {
        reserve(count);
        advance(count);
    }
    // Forgets everything and gives all memory back.
    void clear();
    // Counts `count` positions as written and lets go of blocks no window reaches any more.
    void advance(size_t count);

    // Blocks of a layer by position / 64, in the layout of CacheShape; null where let go.
    uint8_t* const* blocks(size_t layer) const { return blocks_[layer].data(); }

  private:
    std::shared_ptr<const Config> config_;
    std::shared_ptr<BlockPool> pool_;
    std::vector<std::vector<uint8_t*>> blocks_;
    size_t length_ = 0;
};

}  // namespace motet
