// One sequence of tokens: its key-value cache.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "model/block_pool.hpp"
#include "model/config.hpp"
#include "model/page.hpp"

namespace motet {

// The cache grows in pages of 64 positions, as positions are reached: one page for the layers that
// see everything and one for those with a sliding window, which is given back once the window has
// left it. Full pages may be shared with other sequences. The exact mode keeps keys and values in
// float32, the others in bfloat16. What is read is always what was kept, so that a chunked prompt
// computes exactly what the whole prompt does.
class Sequence {
  public:
    using Pages = std::vector<std::shared_ptr<Page>>;

    Sequence(std::shared_ptr<const Config> config, std::shared_ptr<BlockPool> pool);
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;

    // Positions whose keys and values are in the cache.
    size_t length() const { return length_; }
    const std::shared_ptr<const Config>& config() const { return config_; }

    // Makes room for `count` more positions in every layer, after a `trim`. Throws std::bad_alloc,
    // after which the sequence is as usable as before.
    void reserve(size_t count);
    // Counts `count` positions as written.
    void advance(size_t count) { length_ += count; }
    // Counts `count` positions as read whose keys and values are zeros: to measure what a long
    // context costs without reading one. Throws std::bad_alloc.
    void skip(size_t count);
    // Gives back the pages that no window reaches any more.
    void trim();
    // Forgets the positions from `length` on. Throws std::invalid_argument if that cannot be: a
    // page that would be written again is shared, or one that would be seen again is gone.
    void truncate(size_t length);
    // Forgets everything and gives all memory back.
    void clear();

    // The page of the positions from 64 * index, which must be full; null where trimmed.
    std::shared_ptr<Page> page(LayerKind kind, size_t index) const;
    // Begins an empty sequence with full pages of positions from 0 on, and the last of these
    // positions in the sliding layers, as far as the next token's window reaches. Throws
    // std::invalid_argument.
    void adopt(Pages full, Pages sliding);

    // Blocks of a layer by position / 64, in the layout of CacheShape; null where trimmed.
    uint8_t* const* blocks(size_t layer) const { return blocks_[layer].data(); }

  private:
    Pages& pages(LayerKind kind) { return kind == LayerKind::sliding ? sliding_ : full_; }
    std::shared_ptr<Page> new_page(LayerKind kind) const;
    size_t first_reached(size_t length) const;
    void resize_tables(size_t count);
    void enter(LayerKind kind, size_t index);

    std::shared_ptr<const Config> config_;
    std::shared_ptr<BlockPool> pool_;
    Pages full_, sliding_;  // by position / 64, equally many
    std::vector<std::vector<uint8_t*>> blocks_;
    size_t length_ = 0;
};

}  // namespace motet
