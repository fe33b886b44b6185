// The part of the key-value cache that sequences share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "model/block_pool.hpp"
#include "model/config.hpp"

namespace motet {

// Keys and values of 64 positions in all layers of one kind, one block for each layer. A page that
// is full is never written again, so that any number of sequences may read it; its memory returns
// when the last of them, and whoever else keeps it, has let go.
class Page : public std::enable_shared_from_this<Page> {
  public:
    // Throws std::bad_alloc.
    Page(std::shared_ptr<BlockPool> pool, LayerKind kind, size_t layers)
        : kind_(kind), layers_(layers), pool_(std::move(pool)), blocks_(pool_->allocate(layers)) {}
    ~Page() { pool_->release(blocks_, layers_); }
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;

    // The block of a layer, counted among those of its kind.
    uint8_t* block(size_t layer) const { return blocks_ + layer * pool_->shape().block_bytes(); }
    LayerKind kind() const { return kind_; }
    const BlockPool& pool() const { return *pool_; }
    size_t bytes() const { return layers_ * pool_->shape().block_bytes(); }
    // Whether more than one owner holds it.
    bool shared() const { return weak_from_this().use_count() > 1; }

  private:
    const LayerKind kind_;
    const size_t layers_;
    const std::shared_ptr<BlockPool> pool_;
    uint8_t* const blocks_;
};

}  // namespace motet
